//! Nothing is called after a stop, however the stop and other calls meet.

use std::sync::Arc;
use std::time::Duration;

use gatemq_plugin_loader::{CallFailure, Health, Instance};
use serde_json::json;

use crate::host::{SHORT, SOON, ask, faults, publish, session};

const STOPPED: CallFailure = CallFailure::NotThere("it was stopped");

/// Every way to call an instance that was stopped.
async fn assert_stopped(instance: &Arc<Instance>) {
    assert_eq!(ask(instance, "sensor").await, Err(STOPPED));
    assert!(instance.authorize(&session(), publish("ask/allow")).await.is_err());
    assert!(instance.reconfigure("{}".into()).await.is_err());
    assert!(instance.interest().await.is_err());
    assert!(instance.collect(&[]).is_err());
    assert!(matches!(instance.health().await, Health::NotReady(_)));
    assert!(instance.stop(SHORT).await.is_err());
}

/// Guards memory: a call that was made while the instance is dropped never reaches what is left of it.
#[tokio::test]
async fn a_call_made_during_the_drop_is_refused() {
    let instance = faults(json!({"drop": "slow"})).await;
    let during = async {
        // `stop` is through at once, the destructor takes 100 ms.
        tokio::time::sleep(Duration::from_millis(50)).await;
        tokio::join!(
            instance.health(),
            instance.reconfigure("{}".into()),
            instance.interest(),
            ask(&instance, "sensor"),
            instance.stop(SOON)
        )
    };
    let (stopped, (health, reconfigured, interest, outcome, again)) = tokio::join!(instance.stop(SOON), during);
    assert_eq!(stopped, Ok(()));
    assert!(matches!(health, Health::NotReady(_)), "{health:?}");
    assert_eq!(reconfigured, Err(STOPPED));
    assert_eq!(interest, Err(STOPPED));
    assert_eq!(outcome, Err(STOPPED));
    assert_eq!(again, Err(STOPPED));
    assert_stopped(&instance).await;
}

/// Promise 6: a destructor that hangs holds no caller: `authenticate` runs on the broker's own threads.
#[tokio::test]
async fn promise_6_a_hanging_drop_holds_nobody() {
    let instance = faults(json!({"drop": "hang"})).await;
    let failure = instance.stop(SHORT).await.unwrap_err();
    assert!(matches!(failure, CallFailure::TimedOut { .. }), "{failure:?}");
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let asked = instance.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        sender.send(runtime.block_on(ask(&asked, "sensor")))
    });
    assert_eq!(receiver.recv_timeout(SOON), Ok(Err(STOPPED)));
}

/// Guards that a fenced plugin, whose threads are all away, is stopped nevertheless.
#[tokio::test]
async fn a_fenced_plugin_is_not_called_after_its_stop() {
    let instance = faults(json!({})).await;
    for _ in 0..4 {
        assert!(instance.authorize(&session(), publish("ask/hang")).await.is_err());
    }
    assert!(instance.stop(SHORT).await.is_err(), "it cannot be asked to stop");
    assert_stopped(&instance).await;
}

/// Guards memory: an instance is not dropped while a call thread that was given up is still in it. Its destructor would panic.
#[tokio::test]
async fn an_instance_that_a_call_does_not_leave_is_not_dropped() {
    for (topic, hangs) in [("ask/hang", true), ("ask/allow", false)] {
        let instance = faults(json!({"drop": "panic"})).await;
        assert_eq!(instance.authorize(&session(), publish(topic)).await.is_err(), hangs);
        let stopped = instance.stop(SHORT).await;
        assert_eq!(stopped.is_ok(), hangs, "{topic}: {stopped:?}");
        assert_stopped(&instance).await;
    }
}

/// Promise 6: a collector that hangs keeps its own thread and delays neither `stop` nor other calls; it gets nothing more.
#[tokio::test]
async fn promise_6_a_hanging_collector_delays_nobody() {
    let instance = faults(json!({"collect": "hang"})).await;
    let collecting = instance.clone();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        sender.send(()).unwrap();
        collecting.collect(&[])
    });
    receiver.recv().unwrap();
    crate::host::accepted_soon(&instance, "a collector that hangs").await;
    assert_eq!(instance.health().await, Health::Ready);
    let stopped = tokio::time::timeout(SOON, instance.stop(SHORT)).await;
    assert_eq!(stopped, Ok(Ok(())));
    assert_stopped(&instance).await;
}
