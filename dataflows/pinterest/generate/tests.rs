//! Promises of a generated archive: the same bytes, the layout, the shapes of real records, and
//! dirt of every kind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use watershed::ErrorKind;

use super::*;

const FIELDS: [&[&str]; 3] = [
    &[
        "unique_id",
        "title",
        "description",
        "poster_name",
        "follower_count",
        "tag_list",
        "is_image_or_video",
        "image_src",
        "downloaded",
        "save_location",
        "category",
    ],
    &["timestamp", "latitude", "longitude", "country"],
    &["first_name", "last_name", "age", "date_joined"],
];

/// An archive in a folder of its own, small enough to be read whole.
struct Sample {
    root: TempDir,
    summary: Summary,
}

impl Sample {
    fn new(options: Options) -> Sample {
        let root = TempDir::new().unwrap();
        let summary =
            generate(&Options { to: root.path().to_path_buf(), ..options }, &mut |_| ()).unwrap();
        Sample { root, summary }
    }

    fn clean(events: u64) -> Sample {
        Sample::new(Options { events, dirt: 0.0, ..Options::default() })
    }

    /// The objects by their path below the root.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut objects = BTreeMap::new();
        read(self.root.path(), self.root.path(), &mut objects);
        objects
    }

    /// Returns the lines of one kind, in the order of partitions and offsets.
    fn lines(&self, kind: usize) -> Vec<Vec<u8>> {
        let of_kind = format!("topics/demo.{}/", KINDS[kind]);
        let objects = self.objects().into_iter().filter(|(path, _)| path.starts_with(&of_kind));
        objects.flat_map(|(_, bytes)| lines(&bytes)).collect()
    }

    /// Returns the records of one kind by their number.
    fn records(&self, kind: usize) -> BTreeMap<u64, Value> {
        let values = self
            .lines(kind)
            .into_iter()
            .map(|line| serde_json::from_slice::<Value>(&line).unwrap());
        values.map(|value| (number(&value), value)).collect()
    }
}

fn read(root: &Path, folder: &Path, objects: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(root, &path, objects);
        } else {
            objects.insert(
                path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            );
        }
    }
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let whole = bytes.strip_suffix(b"\n").expect("an object ends with its last line");
    whole.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn number(value: &Value) -> u64 {
    value.get("ind").or(value.get("index")).and_then(Value::as_u64).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

/// Returns the number in a valid follower count.
fn followers(pin: &Value) -> Option<u64> {
    let count = text(pin, "follower_count");
    let (digits, unit) =
        count.split_at(count.find(|c: char| !c.is_ascii_digit()).unwrap_or(count.len()));
    Some(
        digits.parse::<u64>().ok()?
            * [("", 1), ("k", 1_000), ("M", 1_000_000)].into_iter().find(|(u, _)| *u == unit)?.1,
    )
}

#[test]
fn the_same_arguments_give_the_same_bytes() {
    let options = Options { events: 2_000, dirt: 0.2, ..Options::default() };
    let (one, two) = (Sample::new(options.clone()), Sample::new(options.clone()));
    assert_eq!(one.summary, two.summary);
    assert!(one.objects() == two.objects());
    assert!(one.objects() != Sample::new(Options { seed: 101, ..options }).objects());
}

#[test]
fn the_events_do_not_depend_on_partitions_and_objects() {
    let options = Options { events: 500, dirt: 0.05, ..Options::default() };
    let some = Sample::new(options.clone());
    let large =
        Sample::new(Options { partitions: 1, records_per_object: 1_000_000, ..options.clone() });
    let small = Sample::new(Options { partitions: 4, records_per_object: 1, ..options });
    assert_eq!(large.summary.objects, 3);
    assert_eq!(small.summary.objects, small.summary.records.iter().sum::<u64>());
    for kind in [PIN, GEO, USER] {
        let sorted = [&some, &large, &small].map(|sample| {
            let mut lines = sample.lines(kind);
            lines.sort();
            lines
        });
        assert!(sorted[0] == sorted[1] && sorted[0] == sorted[2], "{}", KINDS[kind]);
    }
}

#[test]
fn objects_follow_each_other_without_a_gap() {
    let sample = Sample::new(Options {
        events: 3_000,
        records_per_object: 300,
        dirt: 0.1,
        ..Options::default()
    });
    let objects = sample.objects();
    let mut next = HashMap::new();
    let mut records = [0; 3];
    for (path, bytes) in &objects {
        let [topics, topic, folder, name]: [&str; 4] =
            path.split('/').collect::<Vec<_>>().try_into().unwrap();
        let partition = folder.strip_prefix("partition=").unwrap();
        let next = next.entry((topic.to_owned(), partition.to_owned())).or_insert(0);
        assert_eq!(
            (topics, name),
            ("topics", format!("{topic}+{partition}+{next:010}.json").as_str())
        );
        let kind = KINDS.iter().position(|kind| topic == format!("demo.{kind}")).unwrap();
        assert!(lines(bytes).len() <= 300);
        records[kind] += lines(bytes).len() as u64;
        *next += lines(bytes).len();
    }
    assert_eq!(next.len(), 9);
    let bytes = objects.values().map(|bytes| bytes.len() as u64).sum();
    assert_eq!(
        sample.summary,
        Summary { records, objects: objects.len() as u64, bytes, dirty: sample.summary.dirty }
    );
    assert!((200..400).contains(&sample.summary.dirty), "{}", sample.summary.dirty);
}

#[test]
fn clean_events_are_one_record_of_each_kind_with_its_fields() {
    let sample = Sample::clean(3_000);
    assert_eq!((sample.summary.records, sample.summary.dirty), ([3_000; 3], 0));
    for (kind, fields) in FIELDS.iter().enumerate() {
        let records = sample.records(kind);
        assert!(records.keys().copied().eq(0..3_000));
        for value in records.values() {
            let mut found: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
            found.retain(|field| !["ind", "index"].contains(field));
            assert_eq!(BTreeSet::from_iter(found), BTreeSet::from_iter(fields.iter().copied()));
        }
        for line in sample.lines(kind) {
            let line = String::from_utf8(line).unwrap();
            let places: Vec<_> =
                fields.iter().map(|field| line.find(&format!("\"{field}\":"))).collect();
            assert!(places.is_sorted() && line.starts_with("{\"ind"), "{line}");
        }
    }
    let categories: Vec<_> =
        sample.records(PIN).into_values().map(|pin| text(&pin, "category").to_owned()).collect();
    assert!(categories.is_sorted());
    assert_eq!(BTreeSet::from_iter(&categories).len(), 13);
}

#[test]
fn pins_are_as_long_as_real_ones() {
    let lengths: Vec<_> = Sample::clean(11_154).lines(PIN).iter().map(Vec::len).collect();
    let mean = lengths.iter().sum::<usize>() / lengths.len();
    let (least, most) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
    assert!((693..=723).contains(&mean), "{least} / {mean} / {most}");
    // The shortest pin has a number of few digits: real ones are 424 to 955 bytes.
    assert!((420..=430).contains(least) && (850..=955).contains(most), "{least} / {mean} / {most}");
}

#[test]
fn pins_look_like_real_ones() {
    let sample = Sample::clean(6_000);
    let pins = sample.records(PIN);
    let (mut broken, mut counts) = (0, BTreeSet::new());
    for pin in pins.values() {
        assert!(
            text(pin, "title").chars().count() <= 199
                && text(pin, "description").chars().count() <= 180
        );
        assert!(text(pin, "poster_name").chars().count() <= 94);
        assert_eq!(
            text(pin, "save_location"),
            format!("Local save in /data/{}", text(pin, "category"))
        );
        let id: Vec<_> = text(pin, "unique_id").split('-').map(str::len).collect();
        assert_eq!((id, &text(pin, "unique_id")[14..15]), (vec![8, 4, 4, 4, 12], "4"));
        let error = text(pin, "image_src").starts_with("Image src error");
        assert_eq!(pin["downloaded"], u64::from(!error));
        for field in ["poster_name", "follower_count"] {
            assert_eq!(error, text(pin, field) == "User Info Error");
        }
        assert_eq!(error, text(pin, "title") == "No Title Data Available");
        assert_eq!(error, text(pin, "tag_list") == "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e");
        if error {
            broken += 1;
        } else {
            let tags = BTreeSet::from_iter(text(pin, "tag_list").split(','));
            assert!([8, 9].contains(&tags.len()));
            counts.insert(followers(pin).unwrap());
        }
    }
    assert!((300..800).contains(&broken));
    assert!(counts.first() == Some(&0) && *counts.last().unwrap() >= 1_000_000);
    let some = |field: &str, is: &dyn Fn(&str) -> bool| {
        assert!(pins.values().any(|pin| is(text(pin, field))), "{field}")
    };
    for part in ["\n", "  ", "🎄", "Идеи"] {
        some("title", &|title| title.contains(part));
    }
    some("description", &|text| text.ends_with("…\u{a0}"));
    some("poster_name", &|name| name.ends_with("  "));
    for kind in ["image", "video", "multi-video(story page format)"] {
        some("is_image_or_video", &|found| found == kind);
    }
    for end in ["k", "M", "7"] {
        some("follower_count", &|count| count.ends_with(end));
    }
}

#[test]
fn followers_decrease_with_age_and_the_popular_begin_with_a() {
    let sample = Sample::clean(11_154);
    let [pins, geos, users] = [PIN, GEO, USER].map(|kind| sample.records(kind));
    let mut by_age = [const { Vec::new() }; 4];
    let (mut popular, mut begin_with_a, mut drift) = (0, 0, BTreeSet::new());
    for (ind, pin) in &pins {
        let Some(count) = followers(pin) else { continue };
        let group = match users[ind]["age"].as_u64().unwrap() {
            20..=24 => 0,
            25..=35 => 1,
            36..=50 => 2,
            51..=60 => 3,
            age => panic!("age {age}"),
        };
        by_age[group].push(count);
        if count >= 8_000_000 {
            popular += 1;
            assert!(text(pin, "poster_name").trim_start_matches("Of ").starts_with('A'), "{pin}");
            begin_with_a += usize::from(text(&geos[ind], "country").starts_with('A'));
        }
        if text(pin, "poster_name") == names::DRIFTER {
            drift.insert(text(pin, "follower_count").to_owned());
        }
    }
    let medians = by_age.map(|mut counts| {
        counts.sort_unstable();
        counts[(counts.len() - 1) / 2]
    });
    assert!(medians.windows(2).all(|pair| pair[0] > pair[1]), "{medians:?}");
    assert!(popular > 20 && begin_with_a * 5 > popular * 2, "{begin_with_a} of {popular}");
    assert!(drift.into_iter().eq(["91k", "92k", "93k", "94k"].map(str::to_owned)));
}

#[test]
fn users_and_names_and_ties_repeat() {
    let sample = Sample::clean(11_154);
    let (mut people, mut names) = (BTreeSet::new(), BTreeSet::new());
    for user in sample.records(USER).values() {
        let name = (text(user, "first_name").to_owned(), text(user, "last_name").to_owned());
        let joined = text(user, "date_joined")
            .chars()
            .filter(char::is_ascii_digit)
            .take(8)
            .collect::<String>();
        people.insert((name.clone(), user["age"].as_u64()));
        names.insert(name);
        assert!(["2015", "2016", "2017"].iter().any(|year| joined.contains(year)));
    }
    assert!(
        (1_100..1_300).contains(&people.len()) && names.len() < people.len(),
        "{} {}",
        people.len(),
        names.len()
    );

    let pins = sample.records(PIN);
    let mut counts: BTreeMap<String, HashMap<String, u64>> = BTreeMap::new();
    for (ind, geo) in sample.records(GEO) {
        let country = counts.entry(text(&geo, "country").to_owned()).or_default();
        *country.entry(text(&pins[&ind], "category").to_owned()).or_default() += 1;
    }
    assert_eq!(counts.len(), 243);
    let tie = |counts: &HashMap<String, u64>| {
        counts.values().filter(|count| Some(count) == counts.values().max().as_ref()).count() > 1
    };
    let ties = counts.values().filter(|counts| tie(counts)).count();
    assert!((20..120).contains(&ties), "{ties}");
}

#[test]
fn dates_come_in_every_format() {
    let geos = Sample::clean(2_000).records(GEO);
    let shapes: BTreeSet<_> = geos
        .values()
        .map(|geo| text(geo, "timestamp").replace(|c: char| c.is_ascii_digit(), "9"))
        .collect();
    let expected = [
        "9999-99-99 99:99:99",
        "9999-99-99T99:99:99",
        "99/99/9999, 99:99:99",
        "9999:99:99 99:99:99",
        "9999-99-99T99:99:99.999Z",
        "9999-99-99T99:99:99+99:99",
        "9999-99-99T99:99:99+9999",
    ];
    assert_eq!(shapes, expected.map(str::to_owned).into());
    let usual = geos
        .values()
        .filter(|geo| text(geo, "timestamp").len() == 19 && text(geo, "timestamp").contains('T'))
        .count();
    assert!(usual > 1_500, "{usual}");
}

#[test]
fn an_archive_with_records_is_not_overwritten() {
    let sample = Sample::clean(10);
    let before = sample.objects();
    let options =
        Options { events: 10, to: sample.root.path().to_path_buf(), ..Options::default() };
    let error = generate(&options, &mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("demo.pin"), "{error}");
    assert!(before == sample.objects());

    generate(&Options { user_id: "other".to_owned(), ..options.clone() }, &mut |_| ()).unwrap();
    for path in before.keys() {
        std::fs::remove_file(sample.root.path().join(path)).unwrap();
    }
    generate(&options, &mut |_| ()).unwrap();
}

#[test]
fn arguments_out_of_range_are_refused() {
    let root = TempDir::new().unwrap();
    let good = Options { to: root.path().to_path_buf(), ..Options::default() };
    for bad in [
        Options { dirt: 1.5, ..good.clone() },
        Options { dirt: f64::NAN, ..good.clone() },
        Options { partitions: 0, ..good.clone() },
        Options { records_per_object: 0, ..good.clone() },
    ] {
        assert_eq!(generate(&bad, &mut |_| ()).unwrap_err().kind(), ErrorKind::Usage);
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn progress_ends_with_all_events() {
    let root = TempDir::new().unwrap();
    let mut seen = Vec::new();
    let options = Options { events: 10_001, to: root.path().to_path_buf(), ..Options::default() };
    generate(&options, &mut |done| seen.push(done)).unwrap();
    assert_eq!(seen, [10_000, 10_001]);
    let nothing = Options { events: 0, user_id: "nobody".to_owned(), ..options };
    assert_eq!(generate(&nothing, &mut |_| ()).unwrap(), Summary::default());
}
