//! A small shop on HTTP, built like services are built: tokio and axum in front, an embedded store
//! on disk, a pool of threads for what needs the processor.
//!
//! One request takes this way, and an error the same way back, by `?` alone:
//! [`http`] → [`service`] → [`store`], [`pricing`] (on a worker thread), [`ledger`]. What a list of
//! requests leads to, call by call, stands in [`uris`].

mod error;
mod http;
mod ledger;
mod pricing;
mod service;
mod store;
mod uris;

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use service::Service;
use store::Store;

/// A small shop on HTTP
#[derive(Parser)]
struct Options {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder of the store
    #[arg(long, required_unless_present = "print_uris")]
    data: Option<PathBuf>,
    /// Threads that calculate prices
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Print so many request paths, 1 in 20 of which fails, and end
    #[arg(long, value_name = "N", conflicts_with = "data")]
    print_uris: Option<usize>,
}

/// Completes with the first `SIGTERM` or `SIGINT`.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Serves until a signal asks to stop, then answers what was begun.
#[tokio::main]
async fn serve(listen: SocketAddr, data: &Path, workers: usize) -> Result<(), Box<dyn Error>> {
    let stop = stop_signal()?;
    let store = Arc::new(Store::open(data)?);
    let service = Arc::new(Service::new(store, workers)?);
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("can't listen on {listen}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, http::router(service))
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(count) = options.print_uris {
        uris::requests(count).for_each(|request| println!("{}", request.uri));
    }
    let Some(data) = options.data else {
        return ExitCode::SUCCESS;
    };
    match serve(options.listen, &data, options.workers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shop: {error}");
            ExitCode::FAILURE
        }
    }
}
