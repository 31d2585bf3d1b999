//! One request: the text of it, and what happens around it.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::handler::Frames;
use super::store::{Fault, Faults, Verb};
use crate::fuzzing::Input;
use crate::store::error::StoreErrorKind;

/// Frames of a body end with it.
const FRAME: u8 = 0xfe;

/// A request that is sent, in five digits and its text:
///
/// ```text
/// BEHAVIOUR VERB FAULT CLIENT PAUSE METHOD URI
/// NAME: VALUE
///
/// BODY
/// ```
#[derive(Clone)]
pub(super) struct Step {
    /// What its execution does; see the handler.
    pub(super) behaviour: u8,
    pub(super) faults: Option<Faults>,
    pub(super) client: Client,
    /// Before it is sent.
    pub(super) pause: Duration,
    /// Whether nothing else goes on in that time.
    pub(super) is_blocked: bool,
    pub(super) parts: Parts,
    /// The frames of its body.
    pub(super) data: Vec<Vec<u8>>,
    /// Whether the upload breaks off behind them.
    pub(super) is_broken: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Client {
    Waits,
    HangsUpAfterPolls(u8),
    HangsUpAfter(Duration),
    /// It waits, and sends other requests meanwhile.
    IsBusy,
}

impl Step {
    /// `None` where the text is no request.
    pub(super) fn new(data: &[u8]) -> Option<Self> {
        let mut input = Input(data);
        let behaviour = input.below(16);
        let faults = faults(&mut input);
        let client = input.byte().wrapping_sub(b'0');
        let pause = input.below(16);
        let millis = [0, 1, 900, 5_000, 31_000, 300_000, 1_000_000, 3_700_000];
        let text = input.0;
        let end = text.windows(2).position(|end| end == b"\n\n");
        let (head, body) = match end {
            Some(end) => (&text[..end], &text[end + 2..]),
            None => (text, &[][..]),
        };
        Some(Self {
            behaviour,
            faults,
            client: match client % 8 {
                polls @ 1..=5 => Client::HangsUpAfterPolls(polls),
                6 => Client::IsBusy,
                7 => Client::HangsUpAfter(Duration::from_secs(3)),
                _ => Client::Waits,
            },
            pause: Duration::from_millis(millis[usize::from(pause % 8)]),
            is_blocked: pause > 8,
            parts: parts(head)?,
            data: body
                .split(|byte| *byte == FRAME)
                .map(<[u8]>::to_vec)
                .collect(),
            is_broken: (8..16).contains(&client),
        })
    }

    /// The same request as a client retries it, by a handler that succeeds.
    pub(super) fn again(&self) -> Self {
        Self {
            behaviour: 0,
            is_broken: false,
            ..self.clone()
        }
    }

    pub(super) fn body(&self) -> Frames {
        let data: Vec<_> = self.data.iter().map(Vec::as_slice).collect();
        let frames = Frames::of(&data, None);
        if self.is_broken {
            return frames.breaking();
        }
        frames
    }
}

fn faults(input: &mut Input<'_>) -> Option<Faults> {
    use StoreErrorKind::{Ambiguous, Fatal, NotApplied, Unreadable};

    let of = match input.below(5) {
        0 => None,
        1 => Some(Some(Verb::Claim)),
        2 => Some(Some(Verb::Renew)),
        3 => Some(Some(Verb::Settle)),
        _ => Some(None),
    };
    let (fault, is_lasting) = match input.below(9) {
        0 => (Fault::Before(NotApplied), false),
        1 => (Fault::Before(Ambiguous), false),
        2 => (Fault::After(Ambiguous), false),
        3 => (Fault::Before(Ambiguous), true),
        4 => (Fault::After(Ambiguous), true),
        5 => (Fault::Slow(Duration::from_secs(1)), true),
        6 => (Fault::Slow(Duration::from_secs(40)), false),
        7 => (Fault::Before(Fatal), false),
        _ => (Fault::Before(Unreadable), false),
    };
    Some(Faults {
        of: of?,
        fault,
        is_lasting,
    })
}

/// A request line and header lines.
fn parts(head: &[u8]) -> Option<Parts> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.next()?.trim_ascii();
    let (method, uri) = line.split_at(line.iter().position(|byte| *byte == b' ')?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = Uri::try_from(uri.trim_ascii()).ok()?;
    for line in lines {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_bytes(value[1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request.into_parts().0)
}
