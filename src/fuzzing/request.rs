//! Whole requests through the layer.

mod handler;
mod judge;
mod settings;
mod step;
mod store;
mod world;

use std::cell::Cell;
use std::panic::{self, resume_unwind};
use std::pin::pin;
use std::sync::{Arc, Once};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Builder;
use tower::{Layer, Service};

use self::handler::{Handler, Plan, read};
use self::judge::Answer;
use self::settings::Settings;
use self::step::{Client, Step};
use self::world::World;
use super::{Input, parts};
use crate::drive::{caught, within};

/// So many requests an input sends at most.
const MOST_STEPS: usize = 12;

/// `SETTINGS STEP…`, between bytes 0xff: a layer, and requests with what their handlers do, how the store fails, and when
/// the clients hang up (see [`Step`]).
///
/// Holds, at any time: the layer never panics; every answer is one that its request may get; nothing that is kept runs again;
/// no two executions own one record; a replay is the answer of its execution, for the same request of the same
/// sender. And once the store has healed, nothing is left, every key can be used, and after its retention it is a new one.
pub fn request(data: &[u8]) {
    let panics = panics();
    let mut parts = parts(data);
    let settings = Settings::new(&mut Input(parts.next().unwrap_or_default()));
    let steps: Vec<_> = parts.take(MOST_STEPS).filter_map(Step::new).collect();
    let mut runtime = Builder::new_current_thread();
    let Ok(runtime) = runtime.enable_time().start_paused(true).build() else {
        panic!("no runtime");
    };
    runtime.block_on(history(settings, &steps));
    drop(runtime);
    assert_eq!(self::panics(), panics, "a panic was caught on its way");
}

/// How often this thread has panicked, be it that nobody noticed.
fn panics() -> u32 {
    static WATCH: Once = Once::new();
    thread_local!(static PANICS: Cell<u32> = const { Cell::new(0) });

    WATCH.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let _ = PANICS.try_with(|panics| panics.set(panics.get() + 1));
            hook(panic);
        }));
    });
    PANICS.get()
}

async fn history(settings: Settings, steps: &[Step]) {
    let world = World::new(settings);
    let mut background = Vec::new();
    for step in steps {
        world.suffers(step);
        if step.is_blocked {
            tokio::time::advance(step.pause).await;
        } else {
            tokio::time::sleep(step.pause).await;
        }
        let asked = ask(Arc::clone(&world), step);
        match step.client {
            Client::Waits => drop(asked.await),
            Client::HangsUpAfterPolls(polls) => polled(asked, polls).await,
            Client::HangsUpAfter(time) => drop(within(time, asked).await),
            Client::IsBusy => background.push(tokio::spawn(asked)),
        }
    }
    let everything = async {
        for asked in background {
            if let Err(panic) = asked.await {
                resume_unwind(panic.into_panic());
            }
        }
        world.heals();
        let left = world.layer.drain(DAY).await.left;
        assert_eq!(left, 0, "left behind");
    };
    assert!(
        within(10 * DAY, everything).await.is_some(),
        "it never ends"
    );

    // Now nobody is at it and nothing fails: every key can be used.
    for step in steps {
        let code = ask(Arc::clone(&world), &step.again()).await;
        let is_stuck = matches!(
            code.as_str(),
            "idempotency_in_progress"
                | "idempotency_record_unreadable"
                | "idempotency_store_unavailable"
        );
        assert!(!is_stuck, "{code} for ever");
    }
    // And with its record expired it is a new one.
    tokio::time::advance(Settings::RETENTION + Settings::LEASE).await;
    for step in steps {
        let code = ask(Arc::clone(&world), &step.again()).await;
        let is_old = matches!(
            code.as_str(),
            "idempotency_outcome_unknown"
                | "idempotency_reconcile_failed"
                | "idempotency_response_unavailable"
        );
        assert!(!is_old, "{code} after its retention");
    }
    world.verdict();
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Sends the request of a step, and has its answer judged; gives the code of a refusal.
fn ask(world: Arc<World>, step: &Step) -> impl Future<Output = String> + Send + use<> {
    let mut service = world.layer.layer(Handler(Arc::clone(&world)));
    let (parts, body) = (step.parts.clone(), step.body());
    let mut request = http::Request::from_parts(parts, body);
    let sent = world.sends(step);
    request.extensions_mut().insert(Plan {
        sent,
        behaviour: step.behaviour,
        body: step.data.concat(),
    });
    async move {
        let answer = caught(async {
            let response = service.call(request).await?;
            let (head, body) = response.into_parts();
            Ok((head, read(body).await))
        });
        let answer = match answer.await {
            Ok(Ok((head, body))) => Answer::Response(Box::new(head), body),
            Ok(Err(lost)) => Answer::Lost(lost),
            Err(panic) => Answer::Panicked(panic),
        };
        world.judge(sent, answer)
    }
}

/// Polls a request so often, and drops it.
async fn polled(asked: impl Future<Output = String>, polls: u8) {
    let mut asked = pin!(asked);
    for _ in 0..polls {
        let has_ended = std::future::poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_ready()));
        if has_ended.await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
