//! The functions of the cases by name: `functions.json` has their meaning.

mod combine;

use std::rc::Rc;

use serde_json::Value as Json;

use crate::cases::value::Dyn;

pub(super) type Mapper = Rc<dyn Fn(&Dyn, &Dyn) -> Dyn>;
pub(super) type Joiner = Rc<dyn Fn(&Dyn, &Dyn, &Dyn) -> Dyn>;
pub(super) type Merger = Rc<dyn Fn(&Dyn, &Dyn) -> Dyn>;

/// A function with its parameters.
pub(super) struct Named<'a>(pub(super) &'a Json);

impl Named<'_> {
    fn name(&self) -> &str {
        self.0["fn"].as_str().unwrap_or_default()
    }

    fn json(&self, name: &str) -> Json {
        self.0[name].clone()
    }

    fn value(&self, name: &str) -> Dyn {
        Dyn::of(&self.0[name])
    }

    fn text(&self, name: &str) -> String {
        self.0[name].as_str().unwrap_or_default().to_string()
    }

    fn number(&self, name: &str) -> usize {
        self.0[name].as_u64().unwrap_or_default() as usize
    }

    fn unknown<T>(&self, role: &str) -> Result<T, String> {
        Err(format!("unknown {role} {}", self.0))
    }

    /// Returns a predicate of key and value.
    pub(super) fn predicate(&self) -> Result<Rc<dyn Fn(&Dyn, &Dyn) -> bool>, String> {
        let (n, value, field) = (self.number("n") as i64, self.value("value"), self.json("field"));
        let divisible = move |number: &Dyn| number.number() as i64 % n.max(1) == 0;
        Ok(match self.name() {
            "const" => Rc::new(move |_, _| value == Dyn::Bool(true)),
            "value_divisible_by" => Rc::new(move |_, v| divisible(v)),
            "key_divisible_by" => Rc::new(move |k, _| divisible(k)),
            "key_negative" => Rc::new(|k, _| k.number() < 0.0),
            "value_odd" => Rc::new(|_, v| v.number() as i64 % 2 != 0),
            "value_equals_ignore_case" => {
                Rc::new(move |_, v| v.shown().to_lowercase() == value.shown().to_lowercase())
            }
            "value_not_null" => Rc::new(|_, v| !v.is_null()),
            "value_at_least" => Rc::new(move |_, v| v.number() >= value.number()),
            "field_true" => Rc::new(move |_, v| v.field(&field) == Dyn::Bool(true)),
            "field_equals" => Rc::new(move |_, v| v.field(&field) == value),
            "field_at_least" => Rc::new(move |_, v| v.field(&field).number() >= value.number()),
            _ => return self.unknown("predicate"),
        })
    }

    /// Returns a mapper of key and value to one value, or to a new key.
    pub(super) fn mapper(&self) -> Result<Mapper, String> {
        let (value, field) = (self.value("value"), self.json("field"));
        let (sep, index) = (self.text("sep"), self.number("index"));
        let part = move |text: &Dyn| match text {
            Dyn::Text(text) => text.split(&*sep).nth(index).map(str::to_string),
            _ => None,
        };
        Ok(match self.name() {
            "const" => Rc::new(move |_, _| value.clone()),
            "key" => Rc::new(|k, _| k.clone()),
            "value" => Rc::new(|_, v| v.clone()),
            "field" => Rc::new(move |_, v| v.field(&field)),
            "fields_list" => {
                let fields = self.0["fields"].as_array().cloned().unwrap_or_default();
                Rc::new(move |_, v| Dyn::List(fields.iter().map(|name| v.field(name)).collect()))
            }
            "left_field_of_pair" => Rc::new(move |_, v| v.at(0).field(&field)),
            "last_order_id" => Rc::new(|_, v| v.field(&Json::from("order")).field(&"id".into())),
            "split_part" | "split_part_value" => {
                Rc::new(move |_, v| part(v).map_or(Dyn::text(""), Dyn::Text))
            }
            "split_part_or_null" => Rc::new(move |_, v| part(v).map_or(Dyn::Null, Dyn::Text)),
            "split_part_int" => Rc::new(move |_, v| {
                part(v).and_then(|it| it.parse().ok()).map_or(Dyn::Null, Dyn::Int)
            }),
            "unwindowed_key" => Rc::new(|k, _| match k {
                Dyn::Window(key, ..) => (**key).clone(),
                key => key.clone(),
            }),
            "windowed_key_at_start" => Rc::new(|k, _| match k {
                Dyn::Window(key, start, _) => Dyn::Text(format!("{}@{start}", key.shown())),
                key => key.clone(),
            }),
            "lookup_value" | "lookup_key" => {
                let by_key = self.name() == "lookup_key";
                let map = self.value("map");
                Rc::new(move |k, v| {
                    let of = if by_key { k } else { v };
                    let Dyn::List(pairs) = &map else {
                        return Dyn::Null;
                    };
                    pairs.iter().find(|pair| pair.at(0) == *of).map_or(Dyn::Null, |it| it.at(1))
                })
            }
            "length" => Rc::new(|_, v| length(&v.shown())),
            "length_plus_key" => {
                Rc::new(|k, v| Dyn::float(length(&v.shown()).number() + k.number()))
            }
            "length_null_stays_null" => {
                Rc::new(|_, v| if v.is_null() { Dyn::Null } else { length(&v.shown()) })
            }
            "parse_int" => Rc::new(|_, v| int(v)),
            "first_digit" => Rc::new(|_, v| {
                let digit = v.shown().chars().next().and_then(|first| first.to_digit(10));
                digit.map_or(Dyn::Null, |digit| Dyn::Int(digit.into()))
            }),
            "letter_index" => {
                let base = self.text("base");
                Rc::new(move |_, v| letter_index(&v.shown(), &base))
            }
            "to_string" => Rc::new(|_, v| Dyn::Text(v.shown())),
            "first_letter_lower" => Rc::new(|_, v| match v {
                Dyn::Text(text) => Dyn::Text(text.to_lowercase().chars().take(1).collect()),
                _ => Dyn::text(""),
            }),
            "upper" => Rc::new(|_, v| cased(v, |text| text.to_uppercase())),
            "lower" => Rc::new(|_, v| cased(v, |text| text.to_lowercase())),
            "format_key_value" => {
                let pattern = self.text("pattern");
                Rc::new(move |k, v| {
                    let text = pattern.replace("{key}", &k.shown());
                    Dyn::Text(text.replace("{value}", &v.shown()))
                })
            }
            "order_details_result" => Rc::new(|_, v| {
                let number = |name: &str| v.field(&name.into()).number();
                let is_wrong = number("quantity") < 0.0
                    || number("price") < 0.0
                    || v.field(&"product".into()).is_null();
                checked(v, "ORDER_DETAILS_CHECK", is_wrong)
            }),
            "fraud_result" => {
                let limit = self.value("limit").number();
                Rc::new(move |_, v| {
                    let is_wrong = v.field(&"total".into()).number() >= limit;
                    checked(&v.field(&"order".into()), "FRAUD_CHECK", is_wrong)
                })
            }
            "pages_by_count_descending_joined" => {
                let (top, sep) = (self.number("top"), self.text("sep"));
                Rc::new(move |_, v| {
                    let Dyn::List(mut pages) = v.clone() else {
                        return Dyn::Null;
                    };
                    pages.sort_by(|a, b| b.at(1).number().total_cmp(&a.at(1).number()));
                    let page = |page: &Dyn| format!("{}{sep}", page.at(0).shown());
                    Dyn::Text(pages.iter().take(top).map(page).collect())
                })
            }
            _ => return self.unknown("mapper"),
        })
    }

    /// Returns a mapper of key and value to both: a list of two, or null for nothing.
    pub(super) fn pair_mapper(&self) -> Result<Mapper, String> {
        let pair = |key: Dyn, value: Dyn| Dyn::List(vec![key, value]);
        let (key, value) = (self.value("key"), self.value("value"));
        Ok(match self.name() {
            "const" => Rc::new(move |_, _| value.clone()),
            "identity_pair" => Rc::new(move |k, v| pair(k.clone(), v.clone())),
            "value_as_key_pair" => Rc::new(move |_, v| pair(v.clone(), v.clone())),
            "value_as_key_special_null" => Rc::new(move |k, v| match &*k.shown() {
                "null" => pair(Dyn::Null, v.clone()),
                "NULL" => Dyn::Null,
                _ => pair(v.clone(), v.clone()),
            }),
            "key_chars_pair" => Rc::new(move |k, _| {
                let text = k.shown();
                let letter = |n| text.chars().nth(n).map_or(Dyn::Null, Dyn::text);
                pair(letter(0), letter(1))
            }),
            "swap_pair" => Rc::new(move |k, v| pair(v.clone(), k.clone())),
            "key_to_string_pair" => Rc::new(move |k, v| pair(Dyn::Text(k.shown()), v.clone())),
            "value_to_int_pair" => {
                Rc::new(move |k, v| pair(k.clone(), Dyn::Int(v.number().trunc() as i64)))
            }
            "key_letter_index_pair" => {
                let base = self.text("base");
                Rc::new(move |k, v| pair(letter_index(&k.shown(), &base), v.clone()))
            }
            "double_key_upper_value" => Rc::new(move |k, v| {
                pair(Dyn::float(k.number() * 2.0), cased(v, |text| text.to_uppercase()))
            }),
            "session_key_at_start_arrow_end" => Rc::new(move |k, v| match k {
                Dyn::Window(key, start, end) => {
                    pair(Dyn::Text(format!("{}@{start}->{end}", key.shown())), v.clone())
                }
                _ => pair(k.clone(), v.clone()),
            }),
            "pair_of_value_fields" => {
                let (key, value) = (self.json("key_field"), self.json("value_field"));
                Rc::new(move |_, v| pair(v.field(&key), v.field(&value)))
            }
            "field_pair" => {
                let (key, value) = (self.json("key"), self.json("value"));
                Rc::new(move |_, v| pair(v.field(&key), v.field(&value)))
            }
            "constant_key_pair" => Rc::new(move |_, v| pair(key.clone(), v.clone())),
            "song_genre_lower_to_id_count" => Rc::new(move |k, v| {
                let genre = k.field(&"genre".into()).shown().to_lowercase();
                pair(Dyn::Text(genre), pair(k.field(&"id".into()), v.clone()))
            }),
            "constant_key_to_id_count" => {
                Rc::new(move |k, v| pair(key.clone(), pair(k.field(&"id".into()), v.clone())))
            }
            "industry_window_to_page_count" => Rc::new(move |k, v| match k {
                Dyn::Window(of, start, end) => {
                    pair(Dyn::Window(Box::new(of.at(0)), *start, *end), pair(of.at(1), v.clone()))
                }
                _ => Dyn::Null,
            }),
            _ => return self.unknown("mapper of pairs"),
        })
    }

    /// Returns a mapper of key and value to a list of values, or of pairs.
    pub(super) fn flat_mapper(&self) -> Result<Mapper, String> {
        let (prefixes, value) = (self.value("prefixes"), self.value("value"));
        Ok(match self.name() {
            "const" => Rc::new(move |_, _| value.clone()),
            "identity_pair_list" => {
                Rc::new(|k, v| Dyn::List(vec![Dyn::List(vec![k.clone(), v.clone()])]))
            }
            "lower_split_words" => Rc::new(|_, v| {
                let text = v.shown().to_lowercase();
                let words = text.split(|it: char| !(it.is_alphanumeric() || it == '_'));
                // As in Java, a text that begins with other characters has an empty first word.
                let words = words.enumerate().filter(|(n, word)| *n == 0 || !word.is_empty());
                let words: Vec<Dyn> = words.map(|(_, word)| Dyn::text(word)).collect();
                let is_cut = words == [Dyn::text("")] && !text.is_empty();
                Dyn::List(if is_cut { Vec::new() } else { words })
            }),
            "prefix_list" => Rc::new(move |_, v| match &prefixes {
                Dyn::List(all) => {
                    Dyn::List(all.iter().map(|it| Dyn::Text(it.shown() + &v.shown())).collect())
                }
                _ => Dyn::Null,
            }),
            "prefix_list_value_and_key" => Rc::new(move |k, v| {
                let with = |n: usize, of: &Dyn| Dyn::Text(prefixes.at(n).shown() + &of.shown());
                Dyn::List(vec![with(0, v), with(1, k)])
            }),
            "key_times_copies" => Rc::new(|k, v| {
                let key: i64 = k.number() as i64;
                let one = |i: i64| {
                    Dyn::List(vec![Dyn::text((key * 10 + i).to_string()), Dyn::Text(v.shown())])
                };
                Dyn::List((0..key).map(one).collect())
            }),
            "decode_long_or_drop_then_double" => Rc::new(|_, v| {
                let number = match v {
                    Dyn::Int(number) => Some(*number),
                    // Any 8 bytes are a number.
                    Dyn::Text(text) => {
                        <[u8; 8]>::try_from(text.as_bytes()).ok().map(i64::from_be_bytes)
                    }
                    _ => None,
                };
                Dyn::List(number.iter().map(|it| Dyn::Int(it.wrapping_mul(2))).collect())
            }),
            _ => return self.unknown("flat mapper"),
        })
    }

    /// Returns the name of the topic of a record.
    pub(super) fn topic(&self, input: &str) -> Result<Mapper, String> {
        if self.name() != "format_topic" {
            return self.mapper();
        }
        let pattern = self.text("pattern").replace("{topic}", input);
        Ok(Rc::new(move |k, v| {
            let first: String = v.shown().chars().take(1).collect();
            Dyn::Text(pattern.replace("{key}", &k.shown()).replace("{value[0]}", &first))
        }))
    }
}

fn length(text: &str) -> Dyn {
    Dyn::Int(text.chars().count() as i64)
}

fn int(value: &Dyn) -> Dyn {
    match value {
        Dyn::Text(text) => text.trim().parse().map_or(Dyn::Null, Dyn::Int),
        other => other.clone(),
    }
}

fn letter_index(text: &str, base: &str) -> Dyn {
    let code = |text: &str| text.chars().next().map_or(0, |it| i64::from(u32::from(it)));
    Dyn::Int(code(text) - code(base))
}

fn cased(value: &Dyn, change: impl Fn(&str) -> String) -> Dyn {
    match value {
        Dyn::Text(text) => Dyn::Text(change(text)),
        other => other.clone(),
    }
}

/// Returns the result of the check of an order.
fn checked(order: &Dyn, check: &str, is_wrong: bool) -> Dyn {
    let result = if is_wrong { "FAIL" } else { "PASS" };
    let fields = [
        ("order_id", order.field(&"id".into())),
        ("check", Dyn::text(check)),
        ("result", Dyn::text(result)),
    ];
    Dyn::Object(fields.map(|(name, it)| (name.to_string(), it)).into())
}
