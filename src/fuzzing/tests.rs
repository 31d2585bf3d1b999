//! The properties, driven by seeds, by seeds that were changed, and by random bytes.

use std::fmt;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

/// The seeds of a target; none in a package, which leaves `fuzz/` out.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        return vec![Vec::new()];
    }
    let mut files: Vec<_> = fs::read_dir(fuzz.join("seeds").join(target))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no seeds");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A change at some place: another byte, one more, some fewer, or some of another seed.
#[derive(Clone, Copy, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index, usize),
    Splice(Index, Index, Index),
}

fn changes() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\0\xff\xfe\"\\,:;~/0129 \n".to_vec())
    ];
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), byte.clone()).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (at(), byte).prop_map(|(at, byte)| Change::Insert(at, byte)),
        1 => (at(), 1_usize..9).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (at(), at(), at()).prop_map(|(at, seed, from)| Change::Splice(at, seed, from)),
    ]
}

/// An input, shown as it can be read.
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Seeds that were changed, and random bytes.
fn inputs(target: &str) -> impl Strategy<Value = Input> + use<> {
    let seeds = seeds(target);
    let changed = (any::<Index>(), prop::collection::vec(changes(), 0..8));
    let changed = changed.prop_map(move |(seed, changes)| {
        let mut data = seed.get(&seeds).clone();
        for change in changes {
            apply(&mut data, change, &seeds);
        }
        data
    });
    let random = prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![3 => changed, 1 => random].prop_map(Input)
}

fn apply(data: &mut Vec<u8>, change: Change, seeds: &[Vec<u8>]) {
    let place = |at: Index, data: &[u8]| at.index(data.len() + 1);
    match change {
        Change::Set(at, byte) => {
            if !data.is_empty() {
                *at.get_mut(data) = byte;
            }
        }
        Change::Insert(at, byte) => data.insert(place(at, data), byte),
        Change::Remove(at, count) => {
            let at = place(at, data);
            data.drain(at..data.len().min(at + count));
        }
        Change::Splice(at, seed, from) => {
            let other = seed.get(seeds);
            let (at, from) = (place(at, data), place(from, other));
            data.splice(at.., other[from..].iter().copied());
        }
    }
}

/// Drives a property by the seeds of its target, and by what can be made of them.
fn holds(target: &str, property: fn(&[u8])) {
    for seed in seeds(target) {
        property(&seed);
    }
    proptest!(|(input in inputs(target))| property(&input.0));
}

#[test]
fn a_canonical_form_says_what_its_body_says_and_is_its_own() {
    holds("canonical", super::canonical);
}

#[test]
fn a_key_is_what_its_header_says_within_its_policy() {
    holds("key", super::key);
}

#[test]
fn a_pointer_leads_where_serde_json_says() {
    holds("pointer", super::pointer);
}

#[test]
fn a_quoted_key_is_the_string_of_its_structured_field() {
    holds("quoted", super::quoted);
}

#[test]
fn a_history_of_requests_keeps_what_the_layer_promises() {
    holds("request", super::request);
}

#[test]
fn what_is_written_is_read_and_garbage_is_refused() {
    holds("wire", super::wire);
}
