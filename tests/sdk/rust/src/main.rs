//! Programs of the Rust SDK: a client, an application over gRPC, and a caller of two of those.

mod app;
mod caller;
mod client;
mod steps;

use anyhow::{Result, bail};

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("client") => client::play().await?,
        Some("app") => app::serve().await?,
        Some("caller") => caller::play().await?,
        _ => bail!("usage: dapr-sdk-programs client|app|caller"),
    }
    println!("all steps passed");
    Ok(())
}
