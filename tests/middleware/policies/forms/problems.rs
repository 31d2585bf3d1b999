//! Problem details.

use super::*;

#[tokio::test(start_paused = true)]
async fn problems_have_all_members_and_a_link_to_their_description() {
    let docs = "https://docs.example/idempotency?v=1";

    let answers = refusals(ErrorForm::problem().docs(docs)).await;

    for answer in &answers {
        let link = "<https://docs.example/idempotency?v=1>; rel=\"describedby\"";
        assert_eq!(answer.header("link"), Some(link));
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    let problem = |code: &str, title: &str, status: u16, detail: &str, retryable: bool| {
        json!({
            "type": format!("{docs}#{code}"),
            "title": title,
            "status": status,
            "detail": detail,
            "code": code,
            "retryable": retryable,
        })
    };
    assert_eq!(
        answers.iter().map(body).collect::<Vec<_>>(),
        [
            problem(
                "idempotency_key_missing",
                "Idempotency-Key is missing",
                400,
                "This request requires an idempotency key.",
                false,
            ),
            problem(
                "idempotency_key_invalid",
                "Idempotency-Key is invalid",
                400,
                "Idempotency key is malformed, of a wrong length, or sent more than once.",
                false,
            ),
            problem(
                "idempotency_mismatch",
                "Idempotency-Key is already used",
                422,
                "Idempotency key has already been used with different parameters.",
                false,
            ),
            problem(
                "idempotency_in_progress",
                "A request is outstanding for this Idempotency-Key",
                409,
                "A request with this idempotency key is still in progress.",
                true,
            ),
            problem(
                "idempotency_scope_unresolved",
                "The sender of the request is unknown",
                500,
                "The sender of this request cannot be told; the request was not processed.",
                false,
            ),
            problem(
                "request_too_large",
                "The request body is too large",
                413,
                "The request body is too large.",
                false,
            ),
            problem(
                "idempotency_store_unavailable",
                "Idempotency records are unavailable",
                503,
                "Idempotency records are unavailable; the request was not processed.",
                true,
            ),
        ]
    );
    assert_eq!(answers[IN_PROGRESS].header("retry-after"), Some("1"));
}

/// RFC 9457, section 4.2.1.
#[tokio::test(start_paused = true)]
async fn a_problem_without_a_description_has_the_phrase_of_its_status() {
    let form =
        ErrorForm::problem().status(RefusalCode::KeyInvalid, StatusCode::from_u16(499).unwrap());

    let answers = refusals(form).await;

    let titles = answers.iter().map(|answer| {
        let body = body(answer);
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["status"], answer.status.as_u16());
        assert_eq!(answer.header("link"), None);
        body["title"].as_str().unwrap().to_owned()
    });
    assert_eq!(
        titles.collect::<Vec<_>>(),
        [
            "Bad Request",
            "Idempotency-Key is invalid",
            "Unprocessable Content",
            "Conflict",
            "Internal Server Error",
            "Content Too Large",
            "Service Unavailable",
        ]
    );
}
