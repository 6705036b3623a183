//! Windows of a program: days of the calendar, which have 23, 24 or 25 hours.

use std::time::Duration;

use chrono::{NaiveDate, NaiveTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use watershed::prelude::{Value::Long, *};

const HOUR_MICROS: i64 = 3_600_000_000;

/// Days of the calendar in a time zone.
#[derive(Clone, Copy)]
struct Days(Tz);

impl Days {
    /// Returns the first moment of a day. Some zones skip an hour at midnight.
    fn start(self, day: NaiveDate) -> Timestamp {
        let midnight = day.and_time(NaiveTime::MIN);
        let moment = |hour| self.0.from_local_datetime(&(midnight + TimeDelta::hours(hour)));
        let first = (0..24).find_map(|hour| moment(hour).earliest()).unwrap();
        Timestamp(first.timestamp_micros())
    }

    fn date(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }
}

impl Windows for Days {
    fn assign(&self, at: Timestamp, each: &mut dyn FnMut(Timestamp, Timestamp)) {
        let day = self.0.timestamp_micros(at.0).unwrap().date_naive();
        each(self.start(day), self.start(day.succ_opt().unwrap()));
    }

    fn describe(&self) -> String {
        format!("days in {}", self.0)
    }

    fn grace(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

fn columns() -> Produced {
    Produced::columns(["key", "from", "to", "result"])
}

/// Returns a driver of one grouped stream.
fn driver(build: impl Fn(KGrouped<'_, i64, i64>) + Send + Sync + 'static) -> TopologyTestDriver {
    let topology = Topology::new("own", move |builder: &StreamsBuilder<'_>| {
        build(builder.stream("in", Consumed::with(Int64, Int64)).group_by_key());
    });
    TopologyTestDriver::new(topology).unwrap()
}

/// Returns the start, the length in hours and the result of each row.
fn days(driver: &TopologyTestDriver) -> Vec<(Timestamp, i64, i64)> {
    let day = |row: &Vec<Value>| match row[1..] {
        [Value::Timestamp(from), Value::Timestamp(to), Long(n)] => {
            (Timestamp(from), (to - from) / HOUR_MICROS, n)
        }
        _ => panic!("{row:?}"),
    };
    driver.rows("out").iter().map(day).collect()
}

/// Pipes a record at the beginning of each hour.
fn pipe_hours(driver: &mut TopologyTestDriver, from: Timestamp, to: Timestamp) {
    let input = driver.input("in", Int64, Int64);
    for hour in (from.0..to.0).step_by(HOUR_MICROS as usize) {
        input.pipe_at(driver, &1, &0, Timestamp(hour));
    }
    driver.commit().unwrap();
}

#[test]
fn days_in_a_time_zone_have_23_24_or_25_hours() {
    let berlin = Days(Tz::Europe__Berlin);
    // In 2018 this zone skipped the first hour of a day.
    let sao_paulo = Days(Tz::America__Sao_Paulo);
    for (zone, first, lengths) in [
        (berlin, Days::date(2026, 3, 28), [24, 23, 24]),
        (berlin, Days::date(2026, 10, 24), [24, 25, 24]),
        (sao_paulo, Days::date(2018, 11, 3), [24, 23, 24]),
    ] {
        let mut driver = driver(move |it| it.windowed_by(zone).count().to("out", columns()));
        let starts: Vec<Timestamp> = first.iter_days().take(4).map(|day| zone.start(day)).collect();
        pipe_hours(&mut driver, starts[0], starts[3]);
        let expected = [0, 1, 2].map(|day| (starts[day], lengths[day], lengths[day]));
        assert_eq!(days(&driver), expected, "{}", zone.0);
    }
}

#[test]
fn a_long_day_closes_at_its_own_end() {
    let zone = Days(Tz::Europe__Berlin);
    let mut driver = driver(move |it| {
        it.windowed_by(zone).emit(Emit::OnClose).count().to("out", columns());
    });
    let start = zone.start(Days::date(2026, 10, 25));
    pipe_hours(&mut driver, start, Timestamp(start.0 + 25 * HOUR_MICROS));
    assert_eq!(days(&driver), [], "the last of its 25 hours has begun");
    let end = Timestamp(start.0 + 25 * HOUR_MICROS);
    pipe_hours(&mut driver, end, Timestamp(end.0 + 1));
    assert_eq!(days(&driver), [(start, 25, 25)]);
}
