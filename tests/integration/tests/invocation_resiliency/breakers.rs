//! Circuit breakers of applications: one each endpoint.

use mecha_testkit::eventually;

use super::*;

const IS_OPEN: &str = "circuit breaker is open";

fn breaker(fields: &Value) -> Value {
    let mut breaker = json!({"timeout": "300s", "trip": "consecutiveFailures > 1"});
    for (name, value) in fields.as_object().unwrap() {
        breaker[name] = value.clone();
    }
    json!({"circuitBreakers": {"p": breaker}})
}

#[tokio::test]
async fn a_breaker_opens_after_its_failures_and_stops_calls() {
    let flaky = flaky(&[500; 9], |id| of_app(id, &breaker(&json!({})))).await;
    assert_eq!(flaky.call().await, (500, "1".to_owned()));
    assert_eq!(flaky.call().await, (500, "2".to_owned()));
    for _ in 0..20 {
        assert_not_invoked(&flaky.get("flaky").await, &flaky.id, IS_OPEN);
    }
    assert_eq!(flaky.calls(), 2, "an open breaker lets no call through");
    // Each endpoint has its own.
    assert_eq!(flaky.get("other/one").await.text(), "other");
    let open = [r#"policy="circuitbreaker""#, r#"status="open""#];
    assert_eq!(flaky.sample("activations_total", &open).await, 1.0);
    assert_eq!(
        flaky.sample("cb_state", &open).await + flaky.sample("cb_state", &[r#"status="closed""#]).await,
        1.0
    );
    let name = format!("{}:flaky", flaky.id);
    let changed = format!("Circuit breaker \"{name}\" changed state from closed to open");
    // As the log's text form escapes it.
    let changed = changed.replace('"', "\\\"");
    flaky.caller.logs().wait_for(&changed, SOON).await.unwrap();
}

#[tokio::test]
async fn a_breaker_closes_again_after_its_timeout() {
    let settings = json!({"timeout": "300ms", "maxRequests": 1});
    let flaky = flaky(&[500, 500, 500], |id| of_app(id, &breaker(&settings))).await;
    for _ in 0..2 {
        assert_eq!(flaky.call().await.0, 500);
    }
    assert_not_invoked(&flaky.get("flaky").await, &flaky.id, IS_OPEN);
    // Half open, one call tries, and fails: open again. The next one succeeds, and closes it.
    for expected in [500, 200] {
        eventually(SOON, || async {
            let (status, text) = flaky.call().await;
            anyhow::ensure!(!text.contains(IS_OPEN), "{text}");
            assert_eq!(status, expected, "{text}");
            Ok(())
        })
        .await
        .unwrap();
    }
    for number in 5..15 {
        assert_eq!(flaky.call().await, (200, number.to_string()));
    }
}

#[tokio::test]
async fn a_breaker_forgets_after_its_interval() {
    let settings = json!({"interval": "100ms", "trip": "totalFailures > 1"});
    let flaky = flaky(&[500; 6], |id| of_app(id, &breaker(&settings))).await;
    // Two failures within one interval open it; failures further apart do not, which is what is seen first.
    for number in 1..4 {
        assert_eq!(flaky.call().await, (500, number.to_string()));
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let settings = json!({"trip": "totalFailures > 1"});
    let kept = super::flaky(&[500, 200, 500, 500], |id| of_app(id, &breaker(&settings))).await;
    for status in [500, 200, 500] {
        assert_eq!(kept.call().await.0, status);
    }
    assert_not_invoked(&kept.get("flaky").await, &kept.id, IS_OPEN);
}

#[tokio::test]
async fn half_open_lets_no_more_through_than_it_may() {
    let settings = json!({"timeout": "100ms", "maxRequests": 2});
    let flaky = flaky(&[500, 500, 0, 0, 200], |id| of_app(id, &breaker(&settings))).await;
    for _ in 0..2 {
        assert_eq!(flaky.call().await.0, 500);
    }
    // Two that hang are let through; who comes beside them is turned away.
    let url = flaky.url("flaky");
    for expected in [3, 4] {
        eventually(SOON, || async {
            let (client, url) = (mecha_testkit::HttpClient::new(), url.clone());
            let mut call = tokio::spawn(async move { client.get(&url).await.map(|reply| reply.text()) });
            eventually(SOON, || async {
                anyhow::ensure!(call.is_finished() || flaky.calls() == expected, "nothing happened yet");
                Ok(())
            })
            .await?;
            anyhow::ensure!(flaky.calls() == expected, "{:?}", (&mut call).await);
            Ok(())
        })
        .await
        .unwrap();
    }
    assert_not_invoked(&flaky.get("flaky").await, &flaky.id, "too many requests");
    assert_eq!(flaky.calls(), 4);
}

#[tokio::test]
async fn an_open_breaker_ends_retries() {
    let mut policies = breaker(&json!({}));
    policies["retries"] = quickly(9)["retries"].clone();
    let flaky = flaky(&[500; 20], |id| of_app(id, &policies)).await;
    assert_not_invoked(&flaky.get("flaky").await, &flaky.id, IS_OPEN);
    assert_eq!(flaky.calls(), 2);
}

/// The smallest cache holds one endpoint's breaker: another endpoint pushes it out, and it begins anew.
#[tokio::test]
async fn no_more_breakers_are_kept_than_the_cache_holds() {
    let policies = breaker(&json!({}));
    let cached = |id: &str| {
        let names = json!({"circuitBreaker": "p", "circuitBreakerCacheSize": 1});
        resource(&policies, &json!({id: names}))
    };
    let flaky = flaky(&[500; 9], cached).await;
    for _ in 0..2 {
        assert_eq!(flaky.call().await.0, 500);
    }
    assert_not_invoked(&flaky.get("flaky").await, &flaky.id, IS_OPEN);
    assert_eq!(flaky.get("other/one").await.status, 200);
    assert_eq!(flaky.call().await, (500, "3".to_owned()));
}
