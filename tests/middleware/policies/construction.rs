//! Wrong values of the knobs of identity: of sources, policies, scopes, fingerprints and headers.

use http::HeaderName;
use tower_idempotency::{Anonymous, FingerprintPolicy, KeyFrom, Scope};

use super::configuration::refused;
use super::*;

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn what_is_no_header_is_refused_by_the_knob_that_takes_one() {
    for wrong in ["webhook id", "", "webhook:id", "webhook\n", "wébhook"] {
        let takes = "takes the name of a header";
        let source = refused(|| drop(KeyFrom::header(wrong)));
        says(&source, &["KeyFrom::header", takes]);
        let fingerprint = refused(|| drop(FingerprintPolicy::default().header(wrong)));
        says(&fingerprint, &["FingerprintPolicy::header", takes]);
    }
}

#[test]
fn what_is_no_pointer_is_refused_by_the_knob_that_takes_one_with_its_value() {
    for (wrong, why) in [
        ("", "the empty pointer names the whole document"),
        ("id", "a pointer begins with '/'"),
        ("$.id", "a pointer begins with '/'"),
        ("#/id", "a pointer begins with '/'"),
        ("/a~", "'~0'"),
        ("/a~2b", "'~1'"),
    ] {
        let value = format!("not {wrong:?}");
        let source = refused(|| drop(KeyFrom::json([wrong])));
        says(&source, &["KeyFrom::json", "RFC 6901", &value, why]);
        let second = refused(|| drop(KeyFrom::json(["/id", wrong])));
        says(&second, &["KeyFrom::json", "RFC 6901", &value, why]);
        let include = refused(|| drop(FingerprintPolicy::default().include([wrong])));
        says(&include, &["FingerprintPolicy::include", &value, why]);
        let exclude = refused(|| drop(FingerprintPolicy::default().exclude([wrong])));
        says(&exclude, &["FingerprintPolicy::exclude", &value, why]);
    }
    let none = refused(|| drop(KeyFrom::json([""; 0])));
    says(&none, &["KeyFrom::json", "at least one JSON pointer"]);
    let none = refused(|| drop(FingerprintPolicy::default().include([""; 0])));
    says(
        &none,
        &["FingerprintPolicy::include", "at least one JSON pointer"],
    );
    let none = refused(|| drop(FingerprintPolicy::default().exclude([""; 0])));
    says(
        &none,
        &["FingerprintPolicy::exclude", "at least one JSON pointer"],
    );
}

#[test]
fn a_length_of_nothing_is_refused_with_its_value() {
    let range = |from, to| std::ops::RangeInclusive::new(from, to);
    for (wrong, value) in [
        (range(0, 0), "0..=0"),
        (range(0, 255), "0..=255"),
        (range(9, 3), "9..=3"),
        (range(1, 0), "1..=0"),
    ] {
        let message = refused(|| drop(KeyPolicy::ascii(wrong)));
        says(
            &message,
            &["KeyPolicy::ascii takes a length range", "at least 1", value],
        );
    }
}

#[test]
fn a_scope_that_cannot_tell_anybody_apart_is_refused() {
    let none = refused(|| drop(Scope::headers([])));
    says(&none, &["Scope::headers", "at least one header"]);

    for anonymous in [Anonymous::Share, Anonymous::Refuse, Anonymous::Bypass] {
        let takes = "anonymous takes effect on Scope::credentials and Scope::headers only";
        let shared = refused(|| drop(Scope::shared().anonymous(anonymous)));
        says(&shared, &[takes, "not on Scope::shared()"]);
        let extension = Scope::extension(|user: &String| user.clone());
        let extension = refused(|| drop(extension.anonymous(anonymous)));
        says(&extension, &[takes, "not on Scope::"]);
        let with = Scope::with(|_| Ok(b"alice".to_vec())).without_endpoint();
        let with = refused(|| drop(with.anonymous(anonymous)));
        says(&with, &[takes, "not on Scope::with(..)"]);
    }
}

#[test]
fn headers_of_one_connection_and_the_layers_own_cannot_be_kept() {
    for name in [
        "connection",
        "idempotency-key",
        "idempotent-replayed",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ] {
        let wrong = HeaderName::from_static(name);
        let names = [http::header::SET_COOKIE, wrong];

        let message = refused(|| drop(IdempotencyLayer::default().keep_headers(names)));

        let not = format!("not {name}");
        says(&message, &["keep_headers takes end-to-end headers", &not]);
    }
}

#[test]
fn what_is_no_header_is_refused_with_its_value() {
    let source = refused(|| drop(KeyFrom::header("webhook id")));
    let fingerprint = refused(|| drop(FingerprintPolicy::default().header("if match")));

    says(&source, &["\"webhook id\""]);
    says(&fingerprint, &["\"if match\""]);
}

#[test]
fn a_scope_by_extension_is_refused_by_the_name_that_it_was_made_by() {
    let extension = Scope::extension(|user: &String| user.clone());

    let message = refused(|| drop(extension.anonymous(Anonymous::Refuse)));

    says(&message, &["not on Scope::extension(..)"]);
}

#[test]
fn a_header_that_a_replay_cannot_echo_is_no_key() {
    for name in [
        "authorization",
        "Cookie",
        "proxy-authorization",
        "X-API-Key",
        "Content-Length",
        "content-type",
        "connection",
        "transfer-encoding",
        "idempotent-replayed",
        "set-cookie",
        "location",
        "etag",
    ] {
        let message = refused(|| drop(KeyFrom::header(name)));

        let not = format!("not {}", name.to_ascii_lowercase());
        says(&message, &["KeyFrom::header", "replays can echo", &not]);
    }
    let _ = KeyFrom::header("Idempotency-Key");
}

#[test]
fn a_closure_that_decides_on_the_body_alone_takes_no_setter_for_json() {
    let closure = || FingerprintPolicy::with(|_, body| Ok(body.to_vec()));
    let alone = "canonical_json, include and exclude take no effect on FingerprintPolicy::with, \
                 which decides alone on the body";

    for message in [
        refused(|| drop(closure().canonical_json())),
        refused(|| drop(closure().include(["/id"]))),
        refused(|| drop(closure().header("if-match").exclude(["/id"]))),
    ] {
        assert_eq!(message, alone);
    }
}
