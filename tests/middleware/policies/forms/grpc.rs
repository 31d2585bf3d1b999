//! Trailers-only refusals.

use super::*;

/// Status, message and code of refusals that are trailers only.
fn told(answers: &[Answer]) -> Vec<(u16, &str, &str)> {
    let told = answers.iter().map(|answer| {
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (200, &b""[..]),
            "{answer:?}"
        );
        assert_eq!(answer.trailers, None);
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        (
            answer.header("grpc-status").unwrap().parse().unwrap(),
            answer.header("grpc-message").unwrap(),
            answer.header("idempotency-error").unwrap(),
        )
    });
    told.collect()
}

#[tokio::test(start_paused = true)]
async fn refusals_are_trailers_only_with_a_code_for_clients_and_one_for_people() {
    let answers = refusals(ErrorForm::grpc()).await;

    let told = told(&answers);
    let statuses: Vec<_> = told.iter().map(|(status, ..)| *status).collect();
    let codes: Vec<_> = told.iter().map(|(.., code)| *code).collect();
    assert_eq!(statuses, [3, 3, 3, 10, 9, 3, 14]);
    assert_eq!(codes, CODES);
    assert_eq!(
        told[MISMATCH].1,
        "Idempotency%20key%20has%20already%20been%20used%20with%20different%20parameters."
    );
    assert_eq!(answers[MISMATCH].outcome, Outcome::Mismatch);
    assert_eq!(answers[MISMATCH].header("retry-after"), None);
    let busy = &answers[IN_PROGRESS];
    assert_eq!(busy.header("retry-after"), Some("1"));
    assert_eq!(busy.header("grpc-retry-pushback-ms"), Some("1000"));
}

#[tokio::test(start_paused = true)]
async fn words_of_grpc_are_changed_for_one_code_only() {
    let form = ErrorForm::grpc()
        .code(RefusalCode::Mismatch, "key-reused")
        .status(RefusalCode::Mismatch, 6)
        .detail(RefusalCode::Mismatch, "déjà vu: 100 %");

    let answers = refusals(form).await;

    let unchanged = refusals(ErrorForm::grpc()).await;
    assert_eq!(
        told(&answers)[MISMATCH],
        (6, "d%C3%A9j%C3%A0%20vu:%20100%20%25", "key-reused")
    );
    for number in (0..CODES.len()).filter(|number| *number != MISMATCH) {
        assert_eq!(answers[number], unchanged[number]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_applications_own_form_may_answer_in_grpc_too() {
    struct Detailed(tower_idempotency::Grpc);
    impl Form for Detailed {
        fn render(&self, refusal: &Refusal) -> Response<Bytes> {
            let mut response = self.0.render(refusal);
            let details = HeaderValue::from_static("CAMSBGJ1c3k");
            let name = HeaderName::from_static("grpc-status-details-bin");
            response.headers_mut().insert(name, details);
            response
        }
    }
    let answers = refusals(Detailed(ErrorForm::grpc())).await;

    assert_eq!(told(&answers).len(), CODES.len());
    for answer in answers {
        assert_eq!(
            answer.header("grpc-status-details-bin"),
            Some("CAMSBGJ1c3k")
        );
    }
}

#[test]
fn a_wrong_word_of_the_grpc_form_panics_where_it_is_written_and_says_what_to_do() {
    for status in [-1, 0, 17, 409] {
        assert_eq!(
            refused(|| drop(ErrorForm::grpc().status(RefusalCode::Mismatch, status))),
            format!("status takes 1 to 16 for idempotency_mismatch, not {status}")
        );
    }
    for name in ["two words", "schlüssel", "a\r\nb"] {
        assert_eq!(
            refused(|| drop(ErrorForm::grpc().code(RefusalCode::Mismatch, name))),
            format!("code takes visible ASCII characters for idempotency_mismatch, not {name:?}")
        );
    }
    assert_eq!(
        refused(|| drop(ErrorForm::grpc().code(RefusalCode::Mismatch, ""))),
        "code takes a name for idempotency_mismatch, not \"\""
    );
}
