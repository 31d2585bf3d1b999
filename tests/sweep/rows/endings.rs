//! First requests, by how they end.

use std::time::Duration;

use http::HeaderMap;

use super::rows;
use crate::frames::Step;
use crate::model::End;
use crate::row::{Does, Gets, Row};
use crate::world::{HOLD, MOMENT};

pub(super) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("checksum".parse().unwrap(), "abc".parse().unwrap())])
}

/// A second frame, a little later, and what follows.
fn more(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let second = [Step::Wait(MOMENT), Step::Data("more")];
    second.into_iter().chain(steps).collect()
}

fn oversize() -> Vec<Step> {
    let large = "................................................................";
    more([Step::Data(large), Step::Wait(MOMENT), Step::Data("end")])
}

rows! {
    fn it_is_kept() => Row::of(Does::kept()),
    fn its_body_comes_in_frames() => Row::of(Does::body(End::Kept, more(more([])))),
    fn its_body_has_trailers() => {
        let body = more([Step::Wait(MOMENT), Step::Trailers(trailers())]);
        Row::of(Does::body(End::Kept, body))
    },
    fn its_body_is_oversize() => Row::of(Does::body(End::Tombstone, oversize())),
    fn its_body_is_slow() => {
        let slow = more([Step::Wait(2 * HOLD), Step::Data("end")]);
        Row::of(Does::body(End::Tombstone, slow))
    },
    fn its_body_streams() => Row::of(Does::stream(more(more([])))),
    fn its_stream_breaks() => Row::of(Does::stream(more([Step::Break("reset")]))).gets(Gets::Broken(1)),
    fn its_stream_panics() => Row::of(Does::stream(more([Step::Panic("lost")]))).gets(Gets::Panic),
    fn its_key_is_freed() => Row::of(Does::freed()).gets(Gets::Status(500)),
    fn its_service_fails() => Row::of(Does::failing()).gets(Gets::Failure),
    fn its_handler_panics() => Row::of(Does::panicking()).gets(Gets::Panic),
    fn its_call_panics() => Row::of(Does::panicking_in_call()).gets(Gets::Panic),
    fn its_body_breaks() => {
        Row::of(Does::body(End::Lost, more([Step::Break("reset")]))).gets(Gets::Broken(1))
    },
    fn its_body_panics() => {
        Row::of(Does::body(End::Lost, more([Step::Panic("lost")]))).gets(Gets::Panic)
    },
    fn it_is_committed_and_kept() => Row::of(Does::kept().committed()),
    fn it_is_committed_and_not_kept() => Row::of(Does::freed().committed()).gets(Gets::Status(500)),
    fn it_is_committed_and_fails() => Row::of(Does::failing().committed()).gets(Gets::Failure),
    fn it_is_committed_and_panics() => Row::of(Does::panicking().committed()).gets(Gets::Panic),
    fn it_takes_longer_than_its_lease() => Row::of(Does::kept().taking(Duration::from_secs(4))),
    fn it_takes_longer_than_it_may() => {
        Row::of(Does::kept().taking(Duration::from_secs(4)))
            .by(|layer| layer.max_execution(Duration::from_secs(1)))
    },
}
