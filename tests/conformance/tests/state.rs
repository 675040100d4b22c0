//! Every state store that is shipped passes the checks, loaded from its library as the product loads it.

use mecha_backends::Redis;
use mecha_plugin_api::Metadata;
use mecha_plugin_host::conformance;
use mecha_testkit::plugin_library;

async fn passes(plugin: &str, metadata: &[(&str, &str)], least: usize) {
    let metadata: Metadata = metadata.iter().copied().collect();
    let outcomes = conformance::check(&plugin_library(plugin).unwrap(), &metadata).await.unwrap();
    for outcome in &outcomes {
        println!("{plugin}: {} {}: {:?}", outcome.type_name, outcome.check, outcome.result);
    }
    assert!(outcomes.len() >= least, "only {} checks ran", outcomes.len());
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
}

#[tokio::test]
async fn memory() {
    passes("memory", &[], 4).await;
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    passes("sqlite", &[("connectionString", file.to_str().unwrap())], 4).await;
}

#[tokio::test]
async fn redis() {
    let redis = Redis::shared().unwrap();
    passes("redis", &[("redisHost", &redis.addr().to_string())], 4).await;
}
