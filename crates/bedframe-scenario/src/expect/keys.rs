//! What expectations are written with beside comparisons: tables by name, number and frames, owners, and states.

use std::fmt;
use std::marker::PhantomData;

use bedframe::{DomainId, PageState};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{DomainExpect, NodeExpect};
use crate::table::{Mention, Value};
use crate::value::{Frames, OldDomain};
use crate::world::World;

/// The counters of domains, by name.
#[derive(Clone, Debug)]
pub(crate) struct Domains(pub(super) Vec<(OldDomain, DomainExpect)>);

impl Value for Domains {
    const WORDS: &'static str = "a table of domains";

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        for (domain, expect) in &self.0 {
            domain.mentions(visit);
            expect.mentions(visit);
        }
    }
}

impl<'de> Deserialize<'de> for Domains {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_pairs(deserializer, "a table of domains", |name: OldDomain| name).map(Domains)
    }
}

/// A domain, or nobody.
#[derive(Clone, Debug)]
pub(crate) struct Owner(OldDomain);

impl Owner {
    pub(super) fn domain(&self, world: &World<'_>) -> Option<DomainId> {
        (self.0.get() != "nobody").then(|| world.domain(self.0.get()))
    }
}

impl Value for Owner {
    const WORDS: &'static str = "the name of a domain, or \"nobody\"";

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        if self.0.get() != "nobody" {
            self.0.mentions(visit);
        }
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OldDomain::deserialize(deserializer).map(Self)
    }
}

/// The counters of nodes, by number.
#[derive(Clone, Debug)]
pub(crate) struct Nodes(pub(super) Vec<(u32, NodeExpect)>);

impl Value for Nodes {
    const WORDS: &'static str = "a table of nodes";

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        for (node, expect) in &self.0 {
            visit(Mention::Node(*node));
            expect.mentions(visit);
        }
    }
}

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key(u32);
        impl<'de> Deserialize<'de> for Key {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map(Key).map_err(|_| D::Error::custom("expected the number of a node"))
            }
        }
        read_pairs(deserializer, "a table of nodes", |Key(node)| node).map(Nodes)
    }
}

/// A table whose keys are frames.
#[derive(Clone, Debug)]
pub(crate) struct Pairs<T>(pub(super) Vec<(Frames, T)>);

impl<T: Value> Value for Pairs<T> {
    const WORDS: &'static str = T::WORDS;

    fn mentions(&self, visit: &mut dyn FnMut(Mention<'_>)) {
        for (frames, value) in &self.0 {
            frames.mentions(visit);
            value.mentions(visit);
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_pairs(deserializer, "a table whose keys are frames", |frames: Frames| frames)
            .map(Pairs)
    }
}

fn read_pairs<'de, D: Deserializer<'de>, K: Deserialize<'de>, L, T: Deserialize<'de>>(
    deserializer: D,
    words: &'static str,
    key: impl Fn(K) -> L,
) -> Result<Vec<(L, T)>, D::Error> {
    struct Reader<K, F, T>(&'static str, F, PhantomData<(K, T)>);
    impl<'de, K: Deserialize<'de>, L, F: Fn(K) -> L, T: Deserialize<'de>> Visitor<'de>
        for Reader<K, F, T>
    {
        type Value = Vec<(L, T)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some((one, value)) = map.next_entry::<K, T>()? {
                pairs.push(((self.1)(one), value));
            }
            Ok(pairs)
        }
    }
    deserializer.deserialize_map(Reader(words, key, PhantomData))
}

/// The state of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State(pub(super) PageState);

/// How states are written.
pub(crate) const STATES: [(&str, PageState); 10] = [
    ("absent", PageState::Absent),
    ("reserved", PageState::Reserved),
    ("metadata", PageState::Metadata),
    ("uninitialised", PageState::Uninitialised),
    ("free", PageState::Free),
    ("in use", PageState::InUse),
    ("offlining", PageState::Offlining),
    ("broken offlining", PageState::BrokenOfflining),
    ("offlined", PageState::Offlined),
    ("broken", PageState::Broken),
];

impl Value for State {
    const WORDS: &'static str = "a state";
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = STATES.iter().find(|(name, _)| *name == text);
        found.map(|(_, state)| Self(*state)).ok_or_else(|| {
            let names: Vec<&str> = STATES.iter().map(|(name, _)| *name).collect();
            D::Error::custom(format_args!("expected a state: {}", names.join(", ")))
        })
    }
}
