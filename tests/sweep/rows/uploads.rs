//! Requests by their bodies.

use tower_idempotency::KeyFrom;

use super::endings::trailers;
use super::rows;
use crate::frames::Step;
use crate::row::{Before, Does, Gets, Row};
use crate::world::MOMENT;

/// Frame by frame, with a pause before each.
fn uploading(steps: impl IntoIterator<Item = Step>) -> Row {
    let steps = steps
        .into_iter()
        .flat_map(|step| [Step::Wait(MOMENT), step]);
    Row::of(Does::kept()).uploading(steps.collect::<Vec<_>>())
}

fn with_key() -> Row {
    let body = [r#"{"amount": 42, "#, r#""id": "#, r#""k"}"#];
    let row = uploading(body.map(Step::Data));
    Row {
        is_keyed_by_body: true,
        ..row.by(|layer| layer.key_from(KeyFrom::json(["/id"])))
    }
}

rows! {
    fn it_is_slow() => uploading(["a", "b", "c", "d", "e"].map(Step::Data)),
    fn it_has_trailers() => {
        uploading([Step::Data("a"), Step::Data("b"), Step::Trailers(trailers())])
    },
    fn it_breaks() => uploading([Step::Data("a"), Step::Break("reset")]).gets(Gets::Refusal(400)),
    fn it_panics() => {
        uploading([Step::Data("a"), Step::Data("b"), Step::Panic("lost")]).gets(Gets::Panic)
    },
    fn it_is_too_large() => {
        uploading([Step::Data("aa"), Step::Data("bb"), Step::ByteForEver])
            .by(|layer| layer.max_request_bytes(12))
            .gets(Gets::Refusal(413))
    },
    fn it_names_the_key() => with_key(),
    fn it_names_a_key_that_is_known() => {
        Row { before: Before::Executed, ..with_key() }.gets(Gets::Replay(1))
    },
}
