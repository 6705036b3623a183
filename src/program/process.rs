//! The process around a program: logging, panics, signals, and text for the terminal.

use std::fmt::Arguments;
use std::io::{self, IsTerminal, Write};
use std::process;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::veil::veiled;
use crate::error::{Error, Result};
use crate::runtime::Stop;
use crate::sync::own_runtime;

/// Messages of panics by which libraries report that the system has no thread left.
const NO_THREAD: [&str; 2] = ["failed to spawn thread", "can't spawn worker thread"];

/// Makes a panic of any thread end the process with exit code 70.
///
/// Other threads may wait for the dead one for ever. So all end together; the next run continues.
pub(super) fn end_at_panics(name: &'static str) {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // A system without free threads is no bug of the program.
        if let Some(message) = info.payload_as_str()
            && NO_THREAD.iter().any(|part| message.contains(part))
        {
            let error = Error::no_thread("a thread", message);
            say(format_args!("{name}: {error}"));
            process::exit(error.exit_code().into());
        }
        print(info);
        process::exit(70);
    }));
}

/// Logs warnings of this library and of the program to stderr. Warnings of other libraries are left
/// out: this library reports the same problems as errors, or they are of no use to people.
pub(super) fn log_to_stderr(name: &'static str) {
    let ours = Targets::new()
        .with_targets(["watershed", name].map(|target| (target, tracing::Level::WARN)));
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(colours)
        .log_internal_errors(false);
    // A host that has set up its own logging keeps it.
    let _ = log.with_target(false).finish().with(ours).try_init();
}

/// Writes a line to stderr, without passwords.
///
/// A closed stderr is no error. `eprintln` would panic, which ends the run.
pub(super) fn say(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{}", veiled(&text.to_string()));
}

/// Writes `text` to `out` at once.
pub(super) fn print(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Error::connect("can't print").because(e))
}

/// Returns true if `error` reports a pipe that its reader has closed. The reader has read enough.
pub(super) fn is_broken_pipe(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|e| e.downcast_ref::<io::Error>());
    cause.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Returns a [`Stop`] that the first SIGINT or SIGTERM pulls; see [`at_signals`].
pub(super) fn stop_at_signals(name: &'static str, ending: &'static str) -> Result<Stop> {
    let stop = Stop::default();
    let pulled = stop.clone();
    at_signals(name, ending, move || pulled.stop())?;
    Ok(stop)
}

/// Returns a future that ends at the first SIGINT or SIGTERM from now on; see [`at_signals`].
pub(super) fn stopped(
    name: &'static str,
    ending: &'static str,
) -> Result<impl Future<Output = ()> + use<>> {
    let (sender, stopped) = tokio::sync::oneshot::channel();
    at_signals(name, ending, move || sender.send(()).unwrap_or_default())?;
    Ok(async move { stopped.await.unwrap_or_default() })
}

/// Calls `first` at the first SIGINT or SIGTERM, and ends the process at the second one with exit
/// code 130. The first one also prints `ending`, which names the work that is left.
pub(super) fn at_signals(
    name: &'static str,
    ending: &'static str,
    first: impl FnOnce() + Send + 'static,
) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |e: io::Error| Error::internal("can't listen to signals").because(e);
    let runtime = own_runtime("signals", 1)?;
    let _entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    drop(_entered);
    let listen = async move {
        let mut first = Some(first);
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            let Some(first) = first.take() else { process::exit(130) };
            say(format_args!("{name}: ending, {ending}; a second signal ends it at once"));
            first();
        }
    };
    runtime.spawn(listen);
    // Keep the runtime until the process ends. Its own thread receives the second signal even if
    // all other threads are blocked.
    std::mem::forget(runtime);
    Ok(())
}
