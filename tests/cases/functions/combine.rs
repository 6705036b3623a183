//! Functions that combine values: joiners, aggregators, mergers.

use std::rc::Rc;

use serde_json::Value as Json;

use super::{Joiner, Merger, Named, int, length};
use crate::cases::value::Dyn;

impl Named<'_> {
    /// Returns a joiner of key, left and right value.
    pub(in crate::cases) fn joiner(&self) -> Result<Joiner, String> {
        let (pattern, null_right) = (self.text("pattern"), self.text("null_right"));
        let (field, value) = (self.text("field"), self.value("value"));
        let id = || Json::from("id");
        let format = |pattern: &str, left: &Dyn, right: &str| {
            Dyn::Text(pattern.replace("{left}", &left.shown()).replace("{right}", right))
        };
        let object = |fields: Vec<(&str, Dyn)>| {
            Dyn::Object(fields.into_iter().map(|(name, it)| (name.to_string(), it)).collect())
        };
        Ok(match self.name() {
            "const" => Rc::new(move |_, _, _| value.clone()),
            "format" => Rc::new(move |_, l, r| format(&pattern, l, &r.shown())),
            "format_right_null_as" => Rc::new(move |_, l, r| match r {
                Dyn::Null => format(&pattern, l, &null_right),
                r => format(&pattern, l, &r.shown()),
            }),
            "add" => Rc::new(|_, l, r| sum(l, r)),
            "subtract" => Rc::new(|_, l, r| Dyn::float(l.number() - r.number())),
            "key_colon_sum_null_zero" => Rc::new(|k, l, r| {
                Dyn::Text(format!("{}:{}", k.shown(), Dyn::float(l.number() + r.number()).shown()))
            }),
            "right_or_unknown_with_left" => Rc::new(|_, l, r| {
                let right = if r.is_null() { Dyn::text("UNKNOWN") } else { r.clone() };
                Dyn::List(vec![right, l.clone()])
            }),
            "pair" => Rc::new(|_, l, r| Dyn::List(vec![l.clone(), r.clone()])),
            "left" => Rc::new(|_, l, _| l.clone()),
            "right" => Rc::new(|_, _, r| r.clone()),
            "right_with_field" => Rc::new(move |_, _, r| {
                let mut right = r.clone();
                if let Dyn::Object(fields) = &mut right {
                    fields.insert(field.clone(), value.clone());
                }
                right
            }),
            "append_to_pair" => Rc::new(move |_, l, r| {
                object(vec![("order", l.at(0)), ("payment", l.at(1)), ("customer", r.clone())])
            }),
            "order_id_customer_id_level" => Rc::new(move |_, l, r| {
                let customer = l.field(&"customer_id".into());
                let level = r.field(&"level".into());
                object(vec![("id", l.field(&id())), ("customer_id", customer), ("level", level)])
            }),
            "pair_of_ids" => Rc::new(move |_, l, r| {
                object(vec![("id", l.field(&id())), ("other_id", r.field(&id()))])
            }),
            _ => return self.unknown("joiner"),
        })
    }

    /// Returns an adder or a subtractor of value and aggregate.
    pub(in crate::cases) fn aggregator(&self) -> Result<Merger, String> {
        let (sep, field, value) = (self.text("sep"), self.json("field"), self.value("value"));
        let n = self.number("n");
        let list = |of: &Dyn| match of {
            Dyn::List(list) => list.clone(),
            _ => Vec::new(),
        };
        let without = move |v: &Dyn, a: &Dyn| {
            let mut all = list(a);
            if let Some(at) = all.iter().position(|it| it == v) {
                all.remove(at);
            }
            Dyn::List(all)
        };
        Ok(match self.name() {
            "append" => Rc::new(move |v, a| Dyn::Text(a.shown() + &sep + &v.shown())),
            "append_sorted_letters" => Rc::new(|v, a| {
                let mut letters: Vec<char> = (a.shown() + &v.shown()).chars().collect();
                letters.sort_unstable();
                Dyn::Text(letters.into_iter().collect())
            }),
            "remove_substring" => Rc::new(|v, a| Dyn::Text(a.shown().replace(&v.shown(), ""))),
            "increment" => Rc::new(|_, a| Dyn::float(a.number() + 1.0)),
            "agg_plus_value" | "add" => Rc::new(|v, a| sum(a, v)),
            "subtract" => Rc::new(|v, a| Dyn::float(a.number() - v.number())),
            "agg_plus_parsed_int" => Rc::new(|v, a| sum(a, &int(v))),
            "agg_plus_length" => Rc::new(|v, a| sum(a, &length(&v.shown()))),
            "max" => Rc::new(|v, a| if v.number() > a.number() { v.clone() } else { a.clone() }),
            "count_field_equals" => Rc::new(move |v, a| {
                let is_equal = v.field(&field) == value;
                if is_equal { Dyn::float(a.number() + 1.0) } else { a.clone() }
            }),
            "order_total_add_quantity_times_price" => Rc::new(|v, a| {
                let number = |name: &str| v.field(&name.into()).number();
                let more = number("quantity") * number("price");
                let total = a.field(&"total".into()).number() + more;
                let fields = [("order", v.clone()), ("total", Dyn::float(total))];
                Dyn::Object(fields.map(|(name, it)| (name.to_string(), it)).into())
            }),
            "list_add" => Rc::new(move |v, a| Dyn::List([list(a), vec![v.clone()]].concat())),
            "list_remove" | "top_remove" => Rc::new(without),
            "top_add" => Rc::new(move |v, a| {
                let mut all = [list(a), vec![v.clone()]].concat();
                all.sort_by(|a, b| {
                    let by_plays = b.at(1).number().total_cmp(&a.at(1).number());
                    by_plays.then_with(|| a.at(0).cmp(&b.at(0)))
                });
                all.truncate(n);
                Dyn::List(all)
            }),
            // A reducer, whose left value is the aggregate.
            _ => {
                let joiner = self.joiner()?;
                Rc::new(move |v, a| joiner(&Dyn::Null, a, v))
            }
        })
    }

    /// Returns the first aggregate of a group.
    pub(in crate::cases) fn initializer(&self) -> Result<Dyn, String> {
        Ok(match self.name() {
            "const" => self.value("value"),
            "empty_list" | "empty_top" => Dyn::List(Vec::new()),
            "order_total_empty" => {
                let fields = [("order", Dyn::Null), ("total", Dyn::Int(0))];
                Dyn::Object(fields.map(|(name, it)| (name.to_string(), it)).into())
            }
            _ => return self.unknown("initializer"),
        })
    }

    /// Returns a merger of the aggregates of two sessions.
    pub(in crate::cases) fn merger(&self) -> Result<Merger, String> {
        let (pattern, value) = (self.text("pattern"), self.value("value"));
        Ok(match self.name() {
            "const" => Rc::new(move |_, _| value.clone()),
            "merge_add" => Rc::new(sum),
            "merge_format" => Rc::new(move |l, r| {
                Dyn::Text(pattern.replace("{left}", &l.shown()).replace("{right}", &r.shown()))
            }),
            "later_unless_null" => Rc::new(|l, r| if r.is_null() { l.clone() } else { r.clone() }),
            "order_total_merge" => Rc::new(|l, r| {
                let total = |of: &Dyn| of.field(&"total".into()).number();
                let (order, total) = (r.field(&"order".into()), total(l) + total(r));
                let order = if order.is_null() { l.field(&"order".into()) } else { order };
                let fields = [("order", order), ("total", Dyn::float(total))];
                Dyn::Object(fields.map(|(name, it)| (name.to_string(), it)).into())
            }),
            _ => return self.unknown("merger"),
        })
    }
}

/// Returns the sum of two numbers, or the concatenation of two texts.
fn sum(left: &Dyn, right: &Dyn) -> Dyn {
    match (left, right) {
        (Dyn::Text(left), right) => Dyn::Text(left.clone() + &right.shown()),
        (left, right) => Dyn::float(left.number() + right.number()),
    }
}
