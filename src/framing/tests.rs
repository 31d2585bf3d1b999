use http::Request;
use proptest::prelude::*;

use super::*;
use crate::parameters::FingerprintPolicy;

fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn digest(policy: &FingerprintPolicy, parts: &Parts, body: &[u8]) -> [u8; 32] {
    let mut fingerprinter = Fingerprinter::new(policy, &Head::of(parts, None));
    fingerprinter.frame(body);
    *fingerprinter.finish(parts, body).unwrap().digest()
}

/// Whether two requests with these query strings are one.
fn same_query(policy: &FingerprintPolicy, one: &str, other: &str) -> bool {
    digest(policy, &parts(one, &[]), b"") == digest(policy, &parts(other, &[]), b"")
}

fn same_content_type(policy: &FingerprintPolicy, one: &str, other: &str) -> bool {
    let of = |value| digest(policy, &parts("/", &[("content-type", value)]), b"");
    of(one) == of(other)
}

#[test]
fn absolute_and_origin_form_are_one_request() {
    let policy = FingerprintPolicy::default();

    assert!(same_query(
        &policy,
        "/charges?a=1",
        "https://api.example/charges?a=1"
    ));
    assert!(!same_query(&policy, "/charges?a=1", "/charges?a=2"));
    assert!(!same_query(&policy, "/charges?", "/charges"));
}

#[test]
fn a_canonical_query_has_no_order_but_that_of_one_name() {
    let policy = FingerprintPolicy::default().canonical_query();

    assert!(same_query(&policy, "/?a=1&b=2", "/?b=2&a=1"));
    assert!(same_query(&policy, "/?a=1&b=2&a=3", "/?a=1&a=3&b=2"));
    for (one, other) in [
        ("/?a=1&a=2", "/?a=2&a=1"),
        ("/?a=1&b=2", "/?a=2&b=1"),
        ("/?a=1", "/?a=1&a=1"),
        ("/?a=1", "/?%61=1"),
        ("/?a", "/?a="),
        ("/?a=b&c", "/?a=b%26c"),
    ] {
        assert!(!same_query(&policy, one, other), "{one} {other}");
    }
    assert!(!same_query(
        &FingerprintPolicy::default(),
        "/?a=1&b=2",
        "/?b=2&a=1"
    ));
}

#[test]
fn a_canonical_content_type_is_what_it_means() {
    let policy = FingerprintPolicy::default().canonical_content_type();
    let json = "application/json; charset=utf-8";

    for same in [
        "application/json;charset=UTF-8",
        "Application/JSON ; Charset=\"utf-8\"",
    ] {
        assert!(same_content_type(&policy, json, same), "{same}");
        assert!(!same_content_type(
            &FingerprintPolicy::default(),
            json,
            same
        ));
    }
    assert!(same_content_type(&policy, "a/b; x=1; y=2", "a/b;y=2;x=1"));
    for other in [
        "application/json",
        "application/json; charset=utf-16",
        "application/problem+json; charset=utf-8",
        "text/json; charset=utf-8",
        "no media type",
        "",
    ] {
        assert!(!same_content_type(&policy, json, other), "{other}");
    }
    // A boundary is case-sensitive, and what is no media type counts as it is.
    assert!(!same_content_type(
        &policy,
        "a/b; boundary=x",
        "a/b; boundary=X"
    ));
    assert!(!same_content_type(
        &policy,
        "no media type",
        "no media  type"
    ));
}

#[test]
fn a_header_counts_where_it_is_named_with_all_its_lines() {
    let policy = FingerprintPolicy::default()
        .header("If-Match")
        .header("accept");
    let turned = FingerprintPolicy::default()
        .header("accept")
        .header("if-match");
    let of = |headers: &[_]| digest(&policy, &parts("/", headers), b"");

    let distinct = [
        of(&[]),
        of(&[("if-match", "1")]),
        of(&[("if-match", "1"), ("if-match", "1")]),
        of(&[("if-match", "1"), ("if-match", "2")]),
        of(&[("accept", "1")]),
        of(&[("if-match", "1"), ("accept", "1")]),
    ];

    let set = distinct.iter().collect::<std::collections::HashSet<_>>();
    assert_eq!(set.len(), distinct.len());
    assert_eq!(of(&[("x-other", "1")]), of(&[]));
    let request = parts("/", &[("if-match", "1"), ("accept", "2")]);
    assert_eq!(
        digest(&policy, &request, b""),
        digest(&turned, &request, b"")
    );
}

#[test]
fn nothing_counts_but_what_is_added() {
    let none = FingerprintPolicy::none();
    let (one, other) = (
        parts("/a?b", &[("content-type", "a/b"), ("x-a", "1")]),
        parts("/b", &[("x-a", "1"), ("content-encoding", "gzip")]),
    );

    assert_eq!(digest(&none, &one, b"a"), digest(&none, &other, b"b"));
    let header = none.clone().header("x-a");
    assert_eq!(digest(&header, &one, b"a"), digest(&header, &other, b"b"));
    for added in [
        none.clone().canonical_query(),
        none.canonical_content_type(),
    ] {
        assert_eq!(digest(&added, &one, b"a"), digest(&added, &one, b"b"));
        assert_ne!(digest(&added, &one, b"a"), digest(&added, &other, b"a"));
    }
}

#[test]
fn a_closure_decides_alone_and_its_failures_are_the_services() {
    let length = FingerprintPolicy::with(|_, body| Ok(vec![u8::try_from(body.len())?]));
    let of = |policy: &FingerprintPolicy, body: &[u8]| {
        let parts = parts("/", &[]);
        let finished = Fingerprinter::new(policy, &Head::of(&parts, None)).finish(&parts, body);
        finished.map(|fingerprint| *fingerprint.digest())
    };

    assert_eq!(of(&length, b"ab"), of(&length, b"cd"));
    assert_ne!(of(&length, b"ab"), of(&length, b"abc"));
    assert_eq!(of(&length, &[0; 300]), Err(RefusalCode::Internal));
    let panicking = FingerprintPolicy::with(|_, _| panic!("a policy that panics"));
    assert_eq!(of(&panicking, b""), Err(RefusalCode::Internal));
}

#[test]
fn no_two_policies_agree_on_one_request() {
    let request = parts("/a?b=c", &[("content-type", "a/b"), ("if-match", "1")]);
    let default = FingerprintPolicy::default;
    let policies = [
        default(),
        FingerprintPolicy::none(),
        default().canonical_query(),
        default().canonical_content_type(),
        default().header("if-match"),
        default().header("accept"),
        FingerprintPolicy::none().header("if-match"),
        FingerprintPolicy::with(|_, body| Ok(body.to_vec())),
        #[cfg(feature = "canonical-json")]
        default().canonical_json(),
        #[cfg(feature = "canonical-json")]
        default().exclude(["/x"]),
        #[cfg(feature = "canonical-json")]
        default().include(["/x"]),
        #[cfg(feature = "canonical-json")]
        default().exclude(["/x"]).include(["/x"]),
    ];

    let digests = policies
        .iter()
        .map(|policy| digest(policy, &request, b"{}"));

    let distinct = digests.collect::<std::collections::HashSet<_>>();
    assert_eq!(distinct.len(), policies.len());
}

#[cfg(feature = "canonical-json")]
#[test]
fn a_body_that_is_compared_byte_by_byte_never_meets_a_canonical_one() {
    let policy = FingerprintPolicy::default().canonical_json();
    let request = parts("/", &[]);
    let of = |body: &str| digest(&policy, &request, body.as_bytes());

    assert_eq!(of(r#"{"a": 1, "b": "x"}"#), of(r#"{"b":"\u0078","a":1.0}"#));
    assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":2}"#));
    assert_ne!(of("{\"a\":1,\"a\":1}"), of("{\"a\":1}"));
    assert_ne!(of("{\"a\":1"), of("{\"a\":1 "));
    let excluding = policy.clone().exclude(["/sent_at"]);
    assert_eq!(
        digest(&excluding, &request, br#"{"a":1,"sent_at":2}"#),
        digest(&excluding, &request, br#"{"a":1}"#)
    );
}

#[test]
#[should_panic(expected = "FingerprintPolicy::header takes the name of a header")]
fn what_is_no_header_is_refused() {
    let _ = FingerprintPolicy::default().header("if match");
}

proptest! {
    #[test]
    fn frames_may_be_cut_anywhere(body in prop::collection::vec(any::<u8>(), 0..64), cut in 0..64_usize) {
        let (policy, request) = (FingerprintPolicy::default(), parts("/", &[]));
        let (first, second) = body.split_at(cut.min(body.len()));
        let mut fingerprinter = Fingerprinter::new(&policy, &Head::of(&request, None));
        fingerprinter.frame(first);
        fingerprinter.frame(second);

        let in_two = fingerprinter.finish(&request, &body).unwrap();

        prop_assert_eq!(*in_two.digest(), digest(&policy, &request, &body));
    }

    #[test]
    fn any_permutation_of_names_is_one_query(names in prop::collection::hash_set("[a-z]{1,3}", 0..6)) {
        let policy = FingerprintPolicy::default().canonical_query();
        let names: Vec<_> = names.into_iter().collect();
        let uri = |names: &mut dyn Iterator<Item = &String>| {
            format!("/?{}", names.map(|name| format!("{name}=1")).collect::<Vec<_>>().join("&"))
        };

        let (one, turned) = (uri(&mut names.iter()), uri(&mut names.iter().rev()));

        prop_assert!(same_query(&policy, &one, &turned));
    }
}
