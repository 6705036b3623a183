//! How many bytes are sent between two processes?

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::Result;
use crate::cluster::args::Shapes;
use crate::cluster::case::{self, Process, Work};
use crate::support::archive;
use crate::support::machine::Measured;
use crate::support::report::{Report, count};

/// Bytes that went to process 0, and from it.
#[derive(Default)]
struct Counted {
    to_first: AtomicU64,
    from_first: AtomicU64,
}

/// Copies bytes until the end of the stream, and counts them.
fn copy(mut from: TcpStream, mut to: TcpStream, counted: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        counted.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other end may be gone.
    let _ = to.shutdown(Shutdown::Write);
}

/// Passes all connections on to process 0, on threads that end with the connections.
fn pass_on(listener: TcpListener, first: String, counted: Arc<Counted>) {
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // Process 0 may not listen yet. Then process 1 tries again.
            let Ok(server) = TcpStream::connect(&first) else { continue };
            let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
            let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { continue };
            let (one, other) = (counted.clone(), counted.clone());
            thread::spawn(move || copy(from, to, &one.to_first));
            thread::spawn(move || copy(server, client, &other.from_first));
        }
    });
}

/// Measures, and prints the answer.
pub(crate) fn answer(dir: &Path, shapes: &Shapes, report: &mut Report) -> Result {
    let archive = archive::archive(dir, shapes.events, 1000)?;
    let place = case::place(dir)?;
    // The addresses are free a moment later.
    let free =
        || -> Result<String> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string()) };
    let (first, second, proxy) = (free()?, free()?, TcpListener::bind("127.0.0.1:0")?);
    let (by_proxy, counted) = (proxy.local_addr()?.to_string(), Arc::<Counted>::default());
    pass_on(proxy, first.clone(), counted.clone());
    let mut all = Process::all(&Work::Replay { archive }, place.path(), 2, 1);
    all[0].hosts = format!("{first},{second}");
    all[1].hosts = format!("{by_proxy},{second}");
    let measured: Vec<Measured> = case::measure(&all)?;
    let events = shapes.events as f64;
    report.question("bytes: how many between two processes?");
    let row = |name: &str, bytes: u64| {
        [name.to_string(), count(bytes), format!("{:.0}", bytes as f64 / events)]
    };
    report.table(
        ["bytes", "in all", "an event"],
        [
            row("records that were read", measured[0].counts.bytes),
            row("from process 0", counted.from_first.load(Ordering::Relaxed)),
            row("to process 0", counted.to_first.load(Ordering::Relaxed)),
        ],
    );
    Ok(())
}
