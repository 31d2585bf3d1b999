//! Which responses are kept.

use super::*;

const STATUSES: [u16; 18] = [
    200, 201, 204, 302, 303, 400, 401, 402, 403, 404, 408, 409, 422, 425, 429, 500, 502, 503,
];

/// The statuses that this rule of the layer, or this extension of the handler's, keeps.
async fn kept(rule: Keep, extension: Option<Keep>) -> Vec<u16> {
    let layer = IdempotencyLayer::default().keep(rule);
    let mut kept = Vec::new();
    for status in STATUSES {
        let handler = Handler::default();
        let extension = extension.clone();
        let service = handler.answering(&layer, move |_| {
            let mut response = created("");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(keep) = &extension {
                response.extensions_mut().insert(keep.clone());
            }
            std::future::ready(response)
        });
        let key = status.to_string();
        let first = send(&service, keyed(&key, "x")).await;
        let second = send(&service, keyed(&key, "x")).await;

        let recorded = first.outcome == Outcome::Executed { recorded: true };
        assert_eq!(recorded, second.is_replay(), "{status}");
        assert_eq!(handler.executions(), 2 - u32::from(recorded));
        // A freed key is forgotten: nothing was lost.
        assert_eq!(handler.last_attempt(), 1);
        kept.extend(recorded.then_some(status));
    }
    kept
}

#[tokio::test(start_paused = true)]
async fn a_rule_keeps_what_it_says_and_frees_the_rest() {
    let successes = [200, 201, 204, 302, 303];
    let finals = [200, 201, 204, 302, 303, 400, 402, 404, 422];

    assert_eq!(kept(Keep::default(), None).await, successes);
    assert_eq!(kept(Keep::Success, None).await, successes);
    assert_eq!(kept(Keep::Final, None).await, finals);
    assert_eq!(kept(Keep::All, None).await, STATUSES);
    assert_eq!(kept(Keep::Store, None).await, STATUSES);
    assert_eq!(kept(Keep::Discard, None).await, [0; 0]);
    let declined = Keep::when(|reply| reply.status() == 402);
    assert_eq!(kept(declined, None).await, [402]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_overrules_the_rule_in_both_directions() {
    let successes = [200, 201, 204, 302, 303];
    let declined = Keep::when(|reply| reply.status() == 402);

    assert_eq!(kept(Keep::Success, Some(Keep::Store)).await, STATUSES);
    assert_eq!(kept(Keep::Discard, Some(Keep::All)).await, STATUSES);
    assert_eq!(kept(Keep::All, Some(Keep::Discard)).await, [0; 0]);
    assert_eq!(kept(Keep::All, Some(Keep::Success)).await, successes);
    assert_eq!(kept(Keep::All, Some(declined)).await, [402]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_panics_keeps() {
    let panics = Keep::when(|_| panic!("a rule that panics"));

    assert_eq!(kept(panics, None).await, STATUSES);
}

#[tokio::test(start_paused = true)]
async fn a_closure_decides_on_headers_and_trailers_too() {
    let layer = IdempotencyLayer::default().keep(Keep::when(|reply| {
        let succeeded =
            |headers: &HeaderMap| headers.get("grpc-status").is_some_and(|it| it == "0");
        succeeded(reply.headers()) || reply.trailers().is_some_and(succeeded)
    }));
    let status = |status| {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        )])
    };

    for (headers, trailers, is_kept) in [
        (None, Some("0"), true),
        (None, Some("14"), false),
        (Some("0"), None, true),
        (None, None, false),
    ] {
        let layer = layer.clone().namespace(format!("{headers:?} {trailers:?}"));
        let (service, _) = responding(&layer, move |_| {
            let steps = trailers.map(|trailers| Step::Trailers(status(trailers)));
            let mut response =
                Response::new(Frames::new([Step::Data("data")].into_iter().chain(steps)));
            response
                .headers_mut()
                .extend(headers.map(status).unwrap_or_default());
            response
        });
        ask(&service).await;
        assert_eq!(
            ask(&service).await.is_replay(),
            is_kept,
            "{headers:?} {trailers:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_decides_on_the_attempt_too() {
    let layer = IdempotencyLayer::default().keep(Keep::when(|reply| reply.attempt() == 2));
    let (service, executions) = responding(&layer, |number| match number {
        1 => Response::new(Frames::new([Step::Break("reset")])),
        _ => Response::new(Frames::data(["whole"])),
    });
    drop(service.clone().oneshot(upload("k", Frames::empty())).await);

    let second = ask(&service).await;

    assert_eq!(second.outcome, Outcome::Executed { recorded: true });
    assert!(ask(&service).await.is_replay());
    assert_eq!(executions.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_axum_says_what_is_kept_beside_its_answer() {
    async fn fails() -> Result<(Keep, &'static str), (StatusCode, Keep, &'static str)> {
        Err((StatusCode::BAD_GATEWAY, Keep::Store, "failed for good"))
    }
    async fn is_not_to_be_kept() -> (Keep, &'static str) {
        (Keep::Discard, "fine")
    }
    let app = Router::<()>::new()
        .route("/fails", posting(fails))
        .route("/fine", posting(is_not_to_be_kept))
        .layer(IdempotencyLayer::default());

    for (path, is_kept) in [("/fails", true), ("/fine", false)] {
        let request = || {
            let mut request = keyed("k", "x");
            *request.uri_mut() = path.parse().unwrap();
            request.map(axum::body::Body::new)
        };
        read(app.clone().oneshot(request()).await.unwrap()).await;
        let second = read(app.clone().oneshot(request()).await.unwrap()).await;
        assert_eq!(second.is_replay(), is_kept, "{path}");
    }
}
