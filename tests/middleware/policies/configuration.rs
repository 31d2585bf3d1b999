//! Configurations, wrong and extreme.

use super::*;

thread_local! {
    static PANICKED_IN: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The message of the panic of a wrong configuration; asserts that it names the caller's file.
#[track_caller]
pub(super) fn refused(configure: impl FnOnce()) -> String {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let file = panic
                .location()
                .map_or("", std::panic::Location::file)
                .to_owned();
            PANICKED_IN.with(|panicked_in| *panicked_in.borrow_mut() = file);
            previous(panic);
        }));
    });
    let panic = catch_unwind(AssertUnwindSafe(configure)).unwrap_err();
    let message = match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => (*panic.downcast_ref::<&str>().unwrap()).to_owned(),
    };
    let file = PANICKED_IN.with(|file| file.borrow().clone());
    let written = std::panic::Location::caller().file();
    assert_eq!(file, written, "the place of {message:?}");
    message
}

#[test]
fn a_wrong_configuration_panics_where_it_is_written_and_says_what_to_do() {
    let layer = || IdempotencyLayer::default();

    for (message, knob) in [
        (
            refused(|| drop(layer().retention(Duration::ZERO))),
            "retention",
        ),
        (refused(|| drop(layer().lease(Duration::ZERO))), "lease"),
        (
            refused(|| drop(layer().max_execution(Duration::ZERO))),
            "max_execution",
        ),
        (
            refused(|| drop(layer().store_timeout(Duration::ZERO))),
            "store_timeout",
        ),
    ] {
        assert_eq!(
            message,
            format!("{knob} takes a duration of more than zero, not 0ns")
        );
    }
    let connect = refused(|| drop(layer().methods([Method::POST, Method::CONNECT])));
    assert_eq!(
        connect,
        "methods takes any method but CONNECT, which is never covered"
    );
    let none = refused(|| drop(layer().methods([])));
    assert_eq!(none, "methods takes at least one method, not an empty list");
    for (endpoint, problem) in [
        (
            "/charges",
            "it takes a method and a path, as in \"POST /v1/charges\"",
        ),
        ("POST charges", "the path begins with '/'"),
        ("POST", "it takes a method and a path"),
        ("CONNECT /charges", "CONNECT is never covered"),
        ("P@ST /charges", "the method is no HTTP method"),
        ("POST /charges/{id", ""),
        ("post /x", "methods are written in capitals"),
        ("Post /x", "methods are written in capitals"),
        ("POST /x ", "a path has no white space"),
        ("POST /x y", "a path has no white space"),
        ("POST /x\t", "a path has no white space"),
        ("POST /x?a=1", "a path has no white space, query"),
        ("POST /x#y", "a path has no white space, query or fragment"),
        ("POST /x/:id", "parameters are written {name}"),
        ("POST /x/*rest", "parameters are written {name}"),
    ] {
        let message = refused(|| drop(layer().endpoints([endpoint])));
        assert!(
            message.contains(&format!("\"{endpoint}\" is not an endpoint: {problem}")),
            "{message}"
        );
    }
    for template in ["/x ", "/x?a=1", "/x#y", "/x/:id", "/x/*rest"] {
        let message = refused(|| drop(Endpoint::post(template)));
        let named = format!("\"POST {template}\" is not an endpoint: ");
        assert!(message.contains(&named), "{message}");
    }
    let none = refused(|| drop(layer().max_detached(0)));
    assert_eq!(none, "max_detached takes at least 1, not 0");
    let none = refused(|| drop(layer().max_unsettled_bytes(0)));
    assert_eq!(none, "max_unsettled_bytes takes at least 1, not 0");
    let none = refused(|| drop(layer().max_unsettled(0)));
    assert_eq!(none, "max_unsettled takes at least 1, not 0");
    let twice = refused(|| drop(layer().endpoints(["POST /a/{id}", "PUT /a/{name}"])));
    assert!(twice.contains("is not an endpoint"), "{twice}");
    let template = refused(|| drop(Endpoint::post("charges")));
    assert!(template.contains("the path begins with '/'"), "{template}");
    let too_short = refused(|| drop(KeyPolicy::ascii(0..=9)));
    assert!(too_short.contains("0..=9"), "{too_short}");
    let empty = refused(|| drop(KeyPolicy::ascii(std::ops::RangeInclusive::new(9, 3))));
    assert!(empty.contains("9..=3"), "{empty}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_no_longer_than_the_retention() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone()).retention(9 * SECOND);
    let service = handler.at_once(&layer);

    send(&service, keyed("k", "x")).await;

    assert_eq!(spy.claims()[0].lease(), 9 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_longest_durations_overflow_nowhere() {
    let (spy, handler) = (Spy::new(), Handler::default());
    let layer = IdempotencyLayer::new(spy.clone())
        .retention(Duration::MAX)
        .lease(Duration::MAX)
        .max_execution(Duration::MAX)
        .retry_after(Duration::MAX)
        .hold_for(Duration::MAX)
        .store_timeout(Duration::MAX)
        .settle_for(Duration::MAX)
        .in_flight(tower_idempotency::InFlight::wait(Duration::MAX));
    let service = handler.at_once(&layer);

    send(&service, keyed("k", "x")).await;
    assert!(send(&service, keyed("k", "x")).await.is_replay());
    spy.goes_down(StoreErrorKind::Fatal);
    let refused = send(&service, keyed("other", "x")).await;

    assert_eq!(refused.status, 503);
    assert!(
        refused
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn the_smallest_bounds_let_one_request_after_the_other_through() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().max_detached(1).max_unsettled(1);
    let service = handler.at_once(&layer);

    for key in ["k", "l", "m"] {
        assert_eq!(send(&service, keyed(key, "x")).await.status, 201);
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_look_like_mistakes_and_are_none_are_taken() {
    let handler = Handler::default();
    let layer = IdempotencyLayer::default().endpoints([
        "POST /x:verify",
        "POST /y/{*rest}",
        "POST /z/a*b",
        "M-SEARCH /x",
    ]);
    let service = handler.at_once(&layer);

    for path in ["/x:verify", "/y/a/b", "/z/a*b"] {
        let mut request = keyed("k", "x");
        *request.uri_mut() = path.parse().unwrap();

        let answer = send(&service, request).await;

        assert_eq!(
            answer.outcome,
            Outcome::Executed { recorded: true },
            "{path}"
        );
    }
}
