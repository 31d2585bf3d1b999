//! Bodies and keys that are deep, wide, long or beside the point: a clear answer, without a stack to overflow.

use super::*;

const MANY: usize = 1_000_000;

/// For bodies of any size.
fn roomy(source: KeyFrom) -> World {
    World::new(|layer| layer.key_from(source).max_request_bytes(64 << 20))
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_nested_arrays_beside_the_key_do_not_matter() {
    let deep = nested(10_000);

    for body in [
        format!("{{\"x\":{deep},\"id\":\"abc\"}}"),
        format!("{{\"id\":\"abc\",\"x\":{deep}}}"),
    ] {
        let world = World::from(KeyFrom::json(["/id"]));

        let first = world.key(json(body.clone())).await;

        assert_eq!(first, (EXECUTED, "abc".to_owned()));
        assert!(world.ask(json(body)).await.is_replay());
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_nested_arrays_without_a_key_pass_and_as_the_key_are_refused() {
    let deep = nested(10_000);

    World::from(KeyFrom::json(["/id"]))
        .passes(json(deep.clone()))
        .await;
    World::from(KeyFrom::json(["/0/0/0/0/1"]))
        .passes(json(deep.clone()))
        .await;
    World::from(KeyFrom::json(["/0/0/0/0"]))
        .refuses_the_key(json(deep.clone()))
        .await;
    World::from(KeyFrom::json(["/id"]))
        .refuses_the_key(id(&deep))
        .await;
    World::from(KeyFrom::json(["/id"]))
        .refuses_the_key(json("[".repeat(10_000)))
        .await;
    World::from(KeyFrom::json(["/id"]))
        .refuses_the_key(json("{\"a\":".repeat(10_000)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_key_is_found_among_a_million_members() {
    let members = (0..MANY).fold(String::with_capacity(16 * MANY), |mut members, at| {
        use std::fmt::Write as _;
        write!(members, "\"m{at}\":{at},").unwrap();
        members
    });
    let world = roomy(KeyFrom::json(["/id"]));

    world.passes(json(format!("{{{members}\"x\":1}}"))).await;
    world
        .refuses_the_key(json(format!("{{\"id\":1,{members}\"id\":1}}")))
        .await;
    let found = world
        .key(json(format!("{{{members}\"id\":\"abc\"}}")))
        .await;

    assert_eq!(found, (EXECUTED, "abc".to_owned()));
    let last = World::new(|layer| {
        let source = KeyFrom::json(["/m999999", "/m0"]);
        layer.key_from(source).max_request_bytes(64 << 20)
    });
    let found = last.key(json(format!("{{{members}\"x\":1}}"))).await;
    assert_eq!(found, (EXECUTED, "6:9999991:0".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_key_is_found_among_a_million_elements() {
    let body = format!("[{}7]", "0,".repeat(MANY));

    let found = roomy(KeyFrom::json(["/1000000"]))
        .key(json(body.clone()))
        .await;

    assert_eq!(found, (EXECUTED, "7".to_owned()));
    for beyond in ["/1000001", "/18446744073709551616", "/-", "/01"] {
        let world = roomy(KeyFrom::json([beyond]));
        world.passes(json(body.clone())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_100_kib_is_refused_wherever_it_stands() {
    let long = "a".repeat(100 << 10);
    let escaped = "\\u0061".repeat(100 << 10);
    let digits = "9".repeat(100 << 10);
    let in_body = World::from(KeyFrom::json(["/id"]));

    for value in [format!("\"{long}\""), format!("\"{escaped}\""), digits] {
        in_body.refuses_the_key(id(&value)).await;
    }
    let beside = json_with(&[("idempotency-key", &long)], r#"{"id":"abc"}"#);
    in_body.refuses_the_key(beside).await;
    let several = World::from(KeyFrom::json(["/id", "/amount"]));
    several.refuses_the_key(id(&format!("\"{long}\""))).await;
    let in_header = World::from(KeyFrom::default());
    for value in [long.clone(), quoted(&long), quoted(&"\"".repeat(50 << 10))] {
        in_header
            .refuses_the_key(with(&[("idempotency-key", &value)]))
            .await;
    }
    let found = World::from(KeyFrom::with(move |_| Some(long.clone())));
    found.refuses_the_key(with(&[])).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_of_100_kib_is_one_where_the_policy_says_so() {
    let long = "a".repeat(100 << 10);
    let policy = || KeyPolicy::ascii(1..=100 << 10);
    let in_body = World::new(|layer| layer.key_from(KeyFrom::json(["/id"])).key(policy()));
    let in_header = World::new(|layer| layer.key(policy()));

    let bodys = in_body.key(id(&format!("\"{long}\""))).await;
    let headers = in_header.key(with(&[("idempotency-key", &long)])).await;

    assert_eq!(bodys, (EXECUTED, long.clone()));
    assert_eq!(headers, bodys);
    assert_eq!(in_body.records(), in_header.records());
    in_body.refuses_the_key(id(&format!("\"{long}a\""))).await;
}

#[tokio::test(start_paused = true)]
async fn a_pointer_into_nothing_finds_no_key_and_the_request_passes() {
    let body = r#"{"a":{"b":["x",{"c":"y"}]},"s":"text","n":null,"f":1.5,"t":true,"":"empty"}"#;
    let deep = "/a".repeat(10_000);
    let long = format!("/{}", "a".repeat(100 << 10));

    for pointer in [
        "/b",
        "/a/c",
        "/a/b/2",
        "/a/b/-",
        "/a/b/01",
        "/a/b/+1",
        "/a/b/-1",
        "/a/b/1e0",
        "/a/b/",
        "/s/0",
        "/s/length",
        "/n/a",
        "/f/5",
        "/t/0",
        "/A",
        "//",
        &deep,
        &long,
    ] {
        let world = World::from(KeyFrom::json([pointer]));
        world.passes(json(body)).await;
        let required = World::new(|layer| {
            let source = KeyFrom::json([pointer]);
            layer.key_from(source).require_key(true)
        });
        required
            .refuses(json(body), 400, "idempotency_key_missing")
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_pointers_are_one_key() {
    let pointers = (0..100).map(|at| format!("/{at}")).collect::<Vec<_>>();
    let world = World::from(KeyFrom::json(&pointers));
    let elements = (0..100).map(|at| at.to_string()).collect::<Vec<_>>();
    let body = format!("[{}]", elements.join(","));

    let (outcome, key) = world.key(json(body)).await;

    assert_eq!(outcome, EXECUTED);
    assert!(key.starts_with("1:01:11:2") && key.ends_with("2:982:99"));
    let one_less = format!("[{}]", elements[1..].join(","));
    world.passes(json(one_less)).await;
}
