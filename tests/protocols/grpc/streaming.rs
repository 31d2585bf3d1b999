//! Streaming methods: they do not belong under the layer, and this is what happens to those that send a key.

use futures_util::{StreamExt, stream};
use tokio::sync::Notify;

use super::*;

fn receipts(numbers: impl IntoIterator<Item = u32>) -> Vec<Result<Receipt, Status>> {
    let receipt = |number| Ok(Receipt { number, cents: 0 });
    numbers.into_iter().map(receipt).collect()
}

/// The numbers of the messages, and how the stream ended.
async fn read(mut stream: Streaming<Receipt>) -> (Vec<u32>, Result<(), Code>) {
    let mut numbers = Vec::new();
    loop {
        match bounded("a message", stream.message()).await {
            Ok(Some(Receipt { number, .. })) => numbers.push(number),
            Ok(None) => return (numbers, Ok(())),
            Err(status) => return (numbers, Err(status.code())),
        }
    }
}

#[tokio::test]
async fn a_stream_that_ends_soon_comes_at_once_and_is_replayed_whole() {
    let handler = Handler::default();
    let charges = Charges::watching(&handler, || stream::iter(receipts(1..=3)).boxed());
    let shop = Shop::at(serve(&layer(), charges)).await;

    for replayed in [false, true] {
        let answer = shop.watch("k").await.unwrap();
        assert_eq!(is_replay(answer.metadata()), replayed);
        assert_eq!(read(answer.into_inner()).await, (vec![1, 2, 3], Ok(())));
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn a_stream_that_fails_soon_is_judged_by_the_status_in_its_trailers() {
    for (code, executions) in [(Code::Unavailable, 2), (Code::NotFound, 1)] {
        let handler = Handler::default();
        let charges = Charges::watching(&handler, move || {
            let failure = Err(Status::new(code, "that was all"));
            stream::iter(receipts([1]).into_iter().chain([failure])).boxed()
        });
        let shop = Shop::at(serve(&layer().keep(Keep::Final), charges)).await;

        for _ in 0..2 {
            let answer = shop.watch("k").await.unwrap();
            assert_eq!(read(answer.into_inner()).await, (vec![1], Err(code)));
        }
        assert_eq!(handler.executions(), executions);
    }
}

#[tokio::test]
async fn a_stream_that_lasts_flows_and_its_retry_is_refused() {
    let (handler, gate) = (Handler::default(), Arc::new(Notify::new()));
    let opened = Arc::clone(&gate);
    let charges = Charges::watching(&handler, move || {
        let opened = Arc::clone(&opened);
        let last = stream::once(async move {
            opened.notified().await;
            Err(Status::unavailable("nobody saw this"))
        });
        stream::iter(receipts([1])).chain(last).boxed()
    });
    let layer = layer().hold_for(Duration::from_millis(1));
    let shop = Shop::at(serve(&layer, charges)).await;

    let mut flowing = shop.watch("k").await.unwrap().into_inner();
    let one = bounded("a message", flowing.message()).await.unwrap();
    let meanwhile = shop.watch("k").await.unwrap_err();
    gate.notify_one();
    let end = read(flowing).await;
    let afterwards = shop.watch("k").await.unwrap_err();

    assert_eq!(one.unwrap().number, 1);
    assert_eq!(end, (vec![], Err(Code::Unavailable)));
    for retry in [meanwhile, afterwards] {
        assert_eq!(retry.code(), Code::FailedPrecondition);
        let code = retry.metadata().get("idempotency-error").unwrap();
        assert_eq!(code, "idempotency_response_unavailable");
    }
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn a_stream_of_requests_is_read_to_its_end_and_counts_as_one_request() {
    let handler = Handler::default();
    let shop = Shop::at(serve(&layer(), Charges::new(&handler))).await;
    let import = async |cents: &'static [i64]| {
        let mut client = shop.client.clone();
        let charges = stream::iter(cents.iter().map(|&cents| Charge { cents }));
        let request = shop.request("k", charges);
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static(IMPORT);
        let codec = ProstCodec::<Charge, Receipt>::default();
        let call = client.client_streaming(request, path, codec);
        bounded("an answer", call).await
    };

    let first = import(&[1, 2, 3]).await.unwrap();
    let retry = import(&[1, 2, 3]).await.unwrap();
    let mismatch = import(&[1, 2, 3, 4]).await.unwrap_err();

    assert_eq!((first.get_ref().number, first.get_ref().cents), (1, 6));
    assert!(is_replay(retry.metadata()) && retry.get_ref() == first.get_ref());
    assert_eq!(mismatch.code(), Code::InvalidArgument);
    assert_eq!(handler.executions(), 1);
}

#[tokio::test]
async fn a_client_that_waits_for_an_answer_before_it_goes_on_never_gets_one_with_a_key() {
    let handler = Handler::default();
    let shop = Shop::at(serve(&layer(), Charges::new(&handler))).await;
    let confirm = async |key: &str, timeout: Duration| {
        let mut client = shop.client.clone();
        let charges = stream::iter([Charge { cents: 7 }]).chain(stream::pending());
        let mut request = shop.request(key, charges);
        request.set_timeout(timeout);
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static(CONFIRM);
        let codec = ProstCodec::<Charge, Receipt>::default();
        let call = client.streaming(request, path, codec);
        let mut answers = bounded("an answer", call).await?.into_inner();
        bounded("a message", answers.message()).await
    };

    let deadline = confirm("k", Duration::from_millis(200)).await.unwrap_err();
    let executions_with_a_key = handler.executions();
    let without = confirm("", PATIENCE).await.unwrap().unwrap();

    assert!(
        matches!(deadline.code(), Code::Cancelled | Code::DeadlineExceeded),
        "{deadline:?}"
    );
    assert_eq!(executions_with_a_key, 0);
    assert_eq!((without.number, without.cents), (1, 7));
}
