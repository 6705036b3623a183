//! The command `describe`: topics, the steps behind each table and view, and their bindings.

use std::collections::BTreeMap;

use super::Place;

/// Each table: its columns, then the steps that compute it.
const TABLES: &str = "\
pin_table: ind Long, unique_id Text, title Text, description Text, follower_count Long, poster_name Text, tag_list Text, \
is_image_or_video Text, image_src Text, save_location Text, category Text
  pin
geo_table: ind Long, country Text, coordinates Doubles, timestamp Timestamp
  geo
user_table: ind Long, user_name Text, age Long, date_joined Timestamp
  user
category_by_country: country Text, category Text, category_count Long
  pin join geo, count, top 1
category_by_year: post_year Long, category Text, category_count Long
  pin join geo, count, top 1
category_count_by_year: post_year Long, category Text, category_count Long
  pin join geo, count
top_user_by_country: country Text, poster_name Text, follower_count Long
  pin join geo, top 1
top_country: country Text, poster_name Text, follower_count Long
  pin join geo, top 1, top 1
category_by_age_group: age_group Text, category Text, category_count Long
  pin join user, count, top 1
median_followers_by_age_group: age_group Text, median_follower_count Long
  pin join user, median
users_joined_by_year: year_joined Long, number_users_joined Long
  user, count_distinct
median_followers_by_joining_year: year_joined Long, median_follower_count Long
  pin join user, median
median_followers_by_joining_year_and_age_group: year_joined Long, age_group Text, median_follower_count Long
  pin join user, median
";
const LETTERS: &str =
    "topic Text, partition Long, position Text, reason Text, detail Text, payload Binary";

/// Steps by number: the verb, and the numbers of its inputs.
type Steps = BTreeMap<usize, (String, Vec<usize>)>;

/// Returns the steps that compute a step, without those that only reshape rows.
fn made(steps: &Steps, step: usize) -> String {
    let (verb, inputs) = &steps[&step];
    let inputs: Vec<String> = inputs.iter().map(|input| made(steps, *input)).collect();
    match (verb.as_str(), &inputs[..]) {
        ("map_values" | "group_by", [one]) => one.clone(),
        ("join", [left, right]) => format!("{left} join {right}"),
        (verb, [one]) => format!("{one}, {verb}"),
        (verb, _) => verb.strip_prefix("table ").unwrap().to_string(),
    }
}

#[test]
fn describe_lists_the_steps_of_ten_views_and_all_bindings() {
    let place = Place::new();
    place.run(&["generate", "--events", "3"]);
    let text = place.run(&["describe", "--lake", "lake"]);
    let (mut steps, mut rows, mut bound) = (Steps::new(), BTreeMap::new(), BTreeMap::new());
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("topology pinterest"));
    for line in lines.map(str::trim) {
        if let Some((number, step)) =
            line.split_once(' ').and_then(|(n, step)| Some((n.parse().ok()?, step)))
        {
            let (verb, inputs) = step.split_once("  <- ").unwrap_or((step, ""));
            let inputs =
                inputs.split(", ").filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
            assert!(steps.insert(number, (verb.to_string(), inputs)).is_none(), "{line}");
        } else if let Some((topic, columns)) = line.split_once(": ") {
            rows.insert(topic.to_string(), columns.to_string());
        } else {
            let (topic, to) = line.split_once(" <- ").or_else(|| line.split_once(" -> ")).unwrap();
            bound.insert(topic.to_string(), to.to_string());
        }
    }
    assert_eq!(rows.remove("dead_letters (append)").as_deref(), Some(LETTERS));
    let mut tables = String::new();
    for (verb, inputs) in steps.values() {
        if let Some(topic) = verb.strip_prefix("to ") {
            let columns = rows
                .remove(&format!("{topic} (snapshot)"))
                .unwrap_or_else(|| panic!("{topic} has no rows in:\n{text}"));
            tables += &format!("{topic}: {columns}\n  {}\n", made(&steps, inputs[0]));
        }
    }
    assert!(rows.is_empty(), "{rows:?}");
    let sorted = |text: &str| {
        let mut tables: Vec<String> =
            text.split_inclusive('\n').collect::<Vec<_>>().chunks(2).map(<[_]>::concat).collect();
        tables.sort();
        tables
    };
    assert_eq!(sorted(&tables), sorted(TABLES), "in:\n{text}");

    for kind in ["pin", "geo", "user"] {
        assert_eq!(bound.remove(kind).unwrap(), format!("archive data/archive topic demo.{kind}"));
        assert_eq!(
            bound.remove(&format!("{kind}_table")).unwrap(),
            format!("delta lake/demo_{kind}_table")
        );
    }
    let others: Vec<(String, String)> =
        bound.into_iter().filter(|(topic, _)| topic != "state").collect();
    assert_eq!(others.len(), 11, "ten views and the dead letters: {others:?}");
    others.iter().for_each(|(topic, to)| assert_eq!(*to, format!("delta lake/{topic}")));
    assert!(text.ends_with("  state -> lake/_watershed\n"), "{text}");
    assert!(!place.path("lake").exists(), "to describe it changes nothing");
}
