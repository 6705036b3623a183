//! Locks, channels, threads, time, and runtimes for requests. The runtime blocks only by these, so
//! that a [simulation](crate::simulation) can decide the order of its threads.

mod channel;
mod condvar;
mod threads;
mod time;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LockResult, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};
use crate::simulation;

pub(crate) use channel::{Receiver, Sender, channel};
pub(crate) use condvar::Condvar;
pub(crate) use threads::{JoinHandle, Seats, scope, spawn};
pub(crate) use time::{elapsed, now, pause, wall_clock};

/// The worker threads of [`io_runtime`]. They only drive connections and timers: the calling thread
/// runs its own future.
const IO_THREADS: usize = 2;
/// Time between two attempts to lock a mutex in a simulation.
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Locks `mutex`, even if it is poisoned.
///
/// A mutex is poisoned when a thread panics while it holds the lock. Such a panic fails the run or
/// the request, and a failed run commits nothing more. But its other threads still have to stop, to
/// release files and to report the first error, and a second panic would prevent that.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    ignore_poison(mutex.lock())
}

/// Locks a mutex that other threads may hold while they wait.
pub(crate) fn lock_in_turn<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    if simulation::current().is_some() {
        // A thread of a simulation must not block. After a crash there is no other turn.
        while matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)) && !thread::panicking() {
            pause(LOCK_PAUSE);
        }
    }
    lock(mutex)
}

/// Returns the guard of a lock or of a wait, poisoned or not, for the reason given at [`lock`].
pub(crate) fn ignore_poison<T>(result: LockResult<T>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

/// Runs pieces of work at the same time and returns their results in the same order.
///
/// Each piece but the last has a thread of its own, and the last one runs on the calling thread.
/// All pieces end within the call, also when one fails. `name` describes a thread in errors, as in
/// "a thread that writes a file". A simulation runs them one after the other, in any order.
///
/// A piece fails with a [connect error](crate::ErrorKind::Connect) if the system provides no thread
/// for it, and with an [internal error](crate::ErrorKind::Internal) if it panics.
pub(crate) fn side_by_side<T: Send, F>(
    name: &str,
    work: impl IntoIterator<Item = F>,
) -> Vec<Result<T>>
where
    F: FnOnce() -> Result<T> + Send,
{
    let mut work: Vec<F> = work.into_iter().collect();
    let panicked = |_: Box<dyn Any + Send>| Err(Error::internal(format!("{name} has panicked")));
    if let Some(task) = simulation::current() {
        return in_turns(work, &task, panicked);
    }
    let Some(last) = work.pop() else { return Vec::new() };
    thread::scope(|scope| {
        let start = |piece| thread::Builder::new().spawn_scoped(scope, piece);
        let threads: Vec<_> = work.into_iter().map(start).collect();
        // The piece is not used after a panic, and its error fails the caller.
        let last = catch_unwind(AssertUnwindSafe(last)).unwrap_or_else(panicked);
        let joined = threads.into_iter().map(|thread| {
            let thread = thread.map_err(|e| Error::no_thread(name, e))?;
            thread.join().unwrap_or_else(panicked)
        });
        joined.chain([last]).collect()
    })
}

/// Runs pieces of work one after the other, in an order that the simulation draws.
fn in_turns<T, F: FnOnce() -> Result<T>>(
    work: Vec<F>,
    task: &simulation::Task,
    panicked: impl Fn(Box<dyn Any + Send>) -> Result<T>,
) -> Vec<Result<T>> {
    let mut work: Vec<_> = work.into_iter().enumerate().collect();
    let mut results: Vec<(usize, Result<T>)> = Vec::new();
    while !work.is_empty() {
        let (number, piece) = work.swap_remove(task.draw(work.len() as u64) as usize);
        task.switch("a piece of work");
        let result = catch_unwind(AssertUnwindSafe(piece)).unwrap_or_else(&panicked);
        results.push((number, result));
    }
    results.sort_unstable_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Returns the runtime that all clients of this process share for their requests.
///
/// It runs until the process ends, so a client may be dropped on any thread. Tasks that must end
/// with their owner need an [`own_runtime`].
///
/// # Errors
/// When the system provides no thread.
pub(crate) fn io_runtime() -> Result<&'static Runtime> {
    static SHARED: OnceLock<Runtime> = OnceLock::new();
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = lock(&BUILDING);
    match SHARED.get() {
        Some(runtime) => Ok(runtime),
        None => {
            let runtime = own_runtime("io", IO_THREADS)?;
            Ok(SHARED.get_or_init(|| runtime))
        }
    }
}

/// Builds a runtime with `threads` worker threads called `name`. Its tasks end when it is dropped.
///
/// # Errors
/// When the system provides no thread.
pub(crate) fn own_runtime(name: &str, threads: usize) -> Result<Runtime> {
    let refused = |e| Error::no_thread(&format!("a thread for {name}"), e);
    // Tokio panics where the system provides no thread, so one thread is tried first.
    thread::scope(|scope| thread::Builder::new().spawn_scoped(scope, || ()).map(drop))
        .map_err(refused)?;
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name(name).enable_all().build().map_err(refused)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_poisoned_lock_is_still_taken() {
        let shared = Mutex::new(1);
        let panicked = side_by_side(
            "a thread",
            [|| {
                let _held = lock(&shared);
                panic!("while it holds the lock")
            }],
        );
        let [Err::<(), _>(error)] = &panicked[..] else { panic!("it has panicked") };
        assert_eq!((error.kind(), shared.is_poisoned()), (ErrorKind::Internal, true));
        assert_eq!(*lock(&shared), 1);
    }

    #[test]
    fn work_runs_at_the_same_time_and_returns_in_order() {
        let all = Barrier::new(3);
        let work = |number| {
            let all = &all;
            move || {
                all.wait();
                match number {
                    1 => Err(Error::data("the second fails")),
                    2 => panic!("the third panics"),
                    _ => Ok(number),
                }
            }
        };
        let results = side_by_side("a worker", (0..3).map(work));
        let kinds: Vec<_> = results.iter().map(|r| r.as_ref().map_err(Error::kind)).collect();
        assert_eq!(kinds, [Ok(&0), Err(ErrorKind::Data), Err(ErrorKind::Internal)]);
        assert_eq!(results[2].as_ref().unwrap_err().to_string(), "a worker has panicked");
    }

    #[test]
    fn all_requests_share_one_runtime() {
        let both = [io_runtime().unwrap(), io_runtime().unwrap()];
        assert!(std::ptr::eq(both[0], both[1]));
        assert_eq!(both[0].block_on(async { 7 }), 7);
    }
}
