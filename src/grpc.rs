//! What the layer knows of gRPC: how a response of it is told from others, and where its status stands.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::lines::line;

pub(crate) static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// `application/grpc`, `application/grpc+proto` and the like. gRPC-Web has its trailers in the body: it is not meant.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    const MEDIA_TYPE: &[u8] = b"application/grpc";

    let content_type = line(headers, &CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type
        .and_then(|value| value.split_at_checked(MEDIA_TYPE.len()))
        .is_some_and(|(media_type, rest)| {
            media_type.eq_ignore_ascii_case(MEDIA_TYPE)
                && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        })
}

/// The status in headers or trailers; `None` where there is none, or nothing that is a number.
pub(crate) fn status(headers: &HeaderMap) -> Option<i32> {
    headers.get(&GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )])
    }

    #[test]
    fn grpc_is_told_by_its_content_type_and_grpc_web_is_not_it() {
        let is_grpc = |content_type| is_grpc(&headers("content-type", content_type));

        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc+json",
            "Application/GRPC; charset=utf-8",
            "application/grpc ;x=y",
        ] {
            assert!(is_grpc(content_type), "{content_type}");
        }
        for content_type in [
            "",
            "application/grp",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web-text",
            "application/grpcs",
            "application/json",
            "text/plain; x=application/grpc",
        ] {
            assert!(!is_grpc(content_type), "{content_type}");
        }
        assert!(!super::is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn a_status_is_a_number() {
        let status = |value| status(&headers("grpc-status", value));

        assert_eq!(status("0"), Some(0));
        assert_eq!(status("14"), Some(14));
        assert_eq!(status("OK"), None);
        assert_eq!(status(""), None);
        assert_eq!(super::status(&HeaderMap::new()), None);
    }
}
