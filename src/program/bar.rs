//! The progress bar of a run, on a terminal only.

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::runtime::Progress;

/// A progress bar. It draws nothing if stderr is no terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        Bar(ProgressBar::new(0))
    }

    /// Shows `text` for work that has no known end.
    pub(super) fn show(&self, text: String) {
        self.0.set_style(style("{spinner} {msg}  {elapsed}"));
        self.0.set_message(text);
        self.0.tick();
    }

    /// Returns a callback that shows the progress of a run.
    pub(super) fn watch(&self, follow: bool) -> Box<dyn FnMut(&Progress) + Send> {
        let bar = self.0.clone();
        let replay = style("{prefix} {wide_bar} {percent:>3}%  {msg}");
        let live = style("{spinner} {prefix}  {msg}");
        Box::new(move |now: &Progress| {
            let caught_up = follow && now.remaining == 0 && !now.recovering;
            bar.set_style(if caught_up { live.clone() } else { replay.clone() });
            bar.set_length(now.bytes + now.remaining);
            bar.set_position(now.bytes);
            bar.set_prefix(if now.recovering {
                "recovering"
            } else if caught_up {
                "following"
            } else {
                "replaying"
            });
            let seconds = now.elapsed.as_secs_f64().max(0.001);
            let (records, rate) =
                (HumanCount(now.records), HumanCount((now.records as f64 / seconds) as u64));
            let megabytes = now.bytes as f64 / seconds / 1e6;
            bar.set_message(format!(
                "{records} records, {rate}/s, {megabytes:.0} MB/s, commit {}, on: {}",
                now.committed, now.holds
            ));
        })
    }

    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// Returns the style of `template`, or the usual one if it can't be read.
pub(super) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;
    use crate::runtime::Holds;

    /// A terminal of 120 columns that keeps the text last written.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            120
        }
        fn move_cursor_up(&self, _n: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _n: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _n: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _n: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            if !text.trim().is_empty() {
                *self.0.lock().unwrap() = text.trim_end().to_string();
            }
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_shows_the_share_the_rate_and_the_cause_of_waiting() {
        let screen = Screen::default();
        let bar = Bar(ProgressBar::with_draw_target(
            Some(0),
            ProgressDrawTarget::term_like(Box::new(screen.clone())),
        ));
        let mut watch = bar.watch(true);
        let mut now = Progress {
            records: 12_000,
            bytes: 3_000_000,
            remaining: 9_000_000,
            elapsed: Duration::from_secs(2),
            recovering: true,
            committed: 7,
            holds: Holds::State,
        };
        let mut said = |now: &Progress| {
            watch(now);
            screen.0.lock().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let (rate, at) = ("12,000 records, 6,000/s, 2 MB/s, commit 7, on:", |said: String| {
            let bar = |c: char| matches!(c, '\u{2588}' | '\u{2591}');
            said.split(bar)
                .filter(|part| !part.is_empty())
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
        });
        assert_eq!(at(said(&now)), format!("recovering 25% {rate} state"));
        now = Progress { recovering: false, holds: Holds::Partition("pin".into(), 2), ..now };
        assert_eq!(at(said(&now)), format!("replaying 25% {rate} pin, partition 2"));
        now = Progress { remaining: 0, holds: Holds::Records, ..now };
        let following = said(&now);
        assert!(following.ends_with(&format!(" following {rate} new records")), "{following}");
        bar.clear();
    }
}
