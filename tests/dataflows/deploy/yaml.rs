//! Documents of YAML as trees: maps, lists and texts, as far as manifests of Kubernetes use them.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};

/// A value. All scalars are texts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Yaml {
    Text(String),
    List(Vec<Yaml>),
    Map(BTreeMap<String, Yaml>),
}

impl Yaml {
    /// Returns all documents of `text`.
    pub(super) fn documents(text: &str) -> Vec<Self> {
        let mut events = Parser::new_from_str(text).map(|event| event.unwrap().0);
        let mut documents = Vec::new();
        while let Some(event) = events.next() {
            if matches!(event, Event::DocumentStart(..)) {
                let first = events.next().unwrap();
                documents.push(Self::value(first, &mut events));
            }
        }
        documents
    }

    fn value<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Self {
        match event {
            Event::Scalar(text, ..) => Yaml::Text(text.into_owned()),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match events.next().unwrap() {
                        Event::SequenceEnd => return Yaml::List(list),
                        event => list.push(Self::value(event, events)),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut map = BTreeMap::new();
                loop {
                    match events.next().unwrap() {
                        Event::MappingEnd => return Yaml::Map(map),
                        Event::Scalar(name, ..) => {
                            let event = events.next().unwrap();
                            let value = Self::value(event, events);
                            let earlier = map.insert(name.to_string(), value);
                            assert!(earlier.is_none(), "{name} stands twice in a map");
                        }
                        event => panic!("{event:?} is no name"),
                    }
                }
            }
            event => panic!("{event:?} is not expected in a manifest"),
        }
    }

    /// Returns the value at a path of names, and of numbers in lists: `spec.ports.0.port`.
    #[track_caller]
    pub(super) fn at(&self, path: &str) -> &Yaml {
        path.split('.').fold(self, |value, name| match value {
            Yaml::Map(map) => map.get(name).unwrap_or_else(|| panic!("no {name} of {path}")),
            Yaml::List(list) => &list[name.parse::<usize>().unwrap()],
            Yaml::Text(text) => panic!("no {name} of {path} in {text:?}"),
        })
    }

    /// Returns the text at a path.
    #[track_caller]
    pub(super) fn text(&self, path: &str) -> &str {
        match self.at(path) {
            Yaml::Text(text) => text,
            other => panic!("{path} is no text: {other:?}"),
        }
    }

    /// Returns the texts of the list at a path.
    #[track_caller]
    pub(super) fn texts(&self, path: &str) -> Vec<String> {
        match self.at(path) {
            Yaml::List(list) => {
                (0..list.len()).map(|at| self.text(&format!("{path}.{at}")).into()).collect()
            }
            other => panic!("{path} is no list: {other:?}"),
        }
    }
}
