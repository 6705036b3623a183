//! Promises of the links: order, beats, losses, and the first cause of a failure.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::super::frame::{self, Tag};
use super::super::links::{Deliver, Links, Pair};
use super::super::socket::Socket;
use super::*;
use crate::error::{Error, ErrorKind};

/// A process and the other ends of its connections to process 1.
struct Half {
    links: Links,
    events: Receiver<Event<Note>>,
    bulk: UnixStream,
    talk: UnixStream,
}

fn half(limits: Limits) -> Half {
    let (bulk, own_bulk) = UnixStream::pair().unwrap();
    let (talk, own_talk) = UnixStream::pair().unwrap();
    let (deliver, events) = events();
    let deliver: Deliver<Note> = Arc::new(deliver);
    let pair = Pair { process: 1, bulk: Socket::Unix(own_bulk), talk: Socket::Unix(own_talk) };
    let links = Links::start(0, vec![pair], limits, &deliver).unwrap();
    Half { links, events, bulk, talk }
}

fn short() -> Limits {
    Limits {
        beat: Duration::from_millis(100),
        silence: Duration::from_secs(2),
        ..Limits::default()
    }
}

/// Three processes, each with its events.
struct Three {
    leader: Leader<Note>,
    members: Vec<Member<Note>>,
    up: Receiver<Event<Note>>,
    down: Receiver<(usize, Event<Note>)>,
}

fn three() -> Three {
    let (deliver, up) = events();
    let (sender, down) = channel();
    let down_to = move |process, event| sender.send((process, event)).unwrap_or_default();
    let LocalProcesses { leader, members } = in_one_process(3, deliver, down_to).unwrap();
    Three { leader, members, up, down }
}

#[test]
fn messages_arrive_in_their_order_in_both_directions() {
    let Three { mut leader, mut members, up, down } = three();
    let outboxes: Vec<_> = (1..3).map(|process| leader.outbox(process).unwrap()).collect();
    for number in 0..500 {
        outboxes.iter().for_each(|outbox| outbox.send(&Note::new(number)).unwrap());
        members.iter().for_each(|member| {
            member.outbox().unwrap().send(&Note::new(number)).unwrap();
        });
    }
    let mut next = [0; 3];
    for _ in 0..1000 {
        let (process, Event::Message { process: 0, message }) = down.recv().unwrap() else {
            panic!("a message of process 0")
        };
        assert_eq!(message, Note::new(next[process]));
        next[process] += 1;
    }
    let mut next = [0; 3];
    for _ in 0..1000 {
        let Event::Message { process, message } = up.recv().unwrap() else { panic!("a message") };
        assert_eq!(message, Note::new(next[process]));
        next[process] += 1;
    }
    leader.welcome(7, &"hello").unwrap();
    for member in &mut members {
        let welcome = member.welcomed::<String>().unwrap();
        assert_eq!((welcome.generation, welcome.payload.as_str()), (7, "hello"));
    }
    assert!(leader.outbox(3).is_err() && leader.outbox(0).is_err());
    let finish = |member: Member<Note>| Box::new(move || member.finish()) as Box<_>;
    let last = Box::new(move || leader.finish()) as Box<dyn FnOnce() -> Result<()> + Send>;
    let all = members.into_iter().map(finish).chain([last]).collect();
    assert!(together(all).iter().all(Result::is_ok));
    assert!(up.try_recv().is_err() && down.try_recv().is_err(), "an end is no failure");
}

#[test]
fn an_end_of_the_stream_is_a_loss_at_once() {
    let Half { links, events, bulk, talk } = half(limits());
    drop((bulk, talk));
    let (process, error) = failure(&events);
    assert_eq!((process, error.kind(), error.exit_code()), (1, ErrorKind::Lost, 75));
    assert_eq!(error.to_string(), "process 1 is gone");
    drop(links);
    assert!(events.recv().is_err(), "a loss is reported once");
}

#[test]
fn a_silent_process_is_lost_and_a_slow_one_is_not() {
    let Half { links, events, mut bulk, mut talk } = half(short());
    let beat = frame::empty(Tag::Beat);
    // Process 1 sends a byte now and then, less than a message.
    let long = frame::encoded(Tag::Message, &Note::new(1)).unwrap();
    for byte in &long {
        bulk.write_all(&beat).unwrap();
        talk.write_all(&[*byte]).unwrap();
        assert!(events.recv_timeout(Duration::from_millis(500)).is_err() || *byte == 1);
    }
    let (process, error) = failure(&events);
    assert_eq!((process, error.kind()), (1, ErrorKind::Lost));
    let text = error.to_string();
    assert!(text.starts_with("process 1 has not answered for 2s"), "{text}");
    drop(links);
}

#[test]
fn malformed_bytes_end_the_link_and_nothing_else() {
    let wrong = [
        vec![0, 0, 0, 1, Tag::Beat as u8, 0],
        vec![255, 255, 255, 255, Tag::Message as u8],
        vec![0, 0, 0, 1, Tag::Message as u8, 255],
        vec![0, 0, 0, 1, Tag::Failed as u8, 255],
        vec![0, 0, 0, 0, 99],
        vec![0, 0],
    ];
    for bytes in wrong {
        let Half { links, events, mut bulk, talk } = half(limits());
        bulk.write_all(&bytes).unwrap();
        drop((bulk, talk));
        let (process, error) = failure(&events);
        assert_eq!((process, error.kind()), (1, ErrorKind::Lost), "{bytes:?}");
        drop(links);
    }
}

#[test]
fn a_failure_of_one_process_is_the_end_of_all() {
    let Three { leader, members, up, down } = three();
    std::thread::scope(|scope| {
        let failing = scope.spawn(|| {
            members[0]
                .fail(Error::data("row 7 is wrong").hint("Mend it.").because(Error::connect("x")))
        });
        let (process, error) = failure(&up);
        assert_eq!(process, 1);
        let error = leader.fail(error);
        assert_eq!(error.exit_code(), 65);
        assert_eq!(error.to_string(), "process 1: row 7 is wrong: x\n  Mend it.");
        assert_eq!(failing.join().unwrap().to_string(), "row 7 is wrong: x\n  Mend it.");
    });
    loop {
        let (process, event) = down.recv().unwrap();
        let Event::Failed { process: from, error } = event else { continue };
        if process == 2 {
            assert_eq!((from, error.exit_code()), (0, 65));
            assert!(error.to_string().starts_with("process 1: row 7 is wrong"), "{error}");
            // Its own loss of process 1 is only a consequence.
            let cause = members[1].fail(Error::lost("process 1 is gone"));
            assert_eq!(cause.exit_code(), 65);
            break;
        }
    }
}

#[test]
fn the_cause_of_a_loss_wins_although_it_comes_later() {
    let Three { leader, members, up, down: _down } = three();
    std::thread::scope(|scope| {
        // Process 2 notices first that process 1 is gone.
        let noticing = scope.spawn(|| members[1].fail(Error::lost("process 1 is gone")));
        let (process, error) = failure(&up);
        assert_eq!((process, error.exit_code()), (2, 75));
        let failing = scope.spawn(|| members[0].fail(Error::internal("a worker panicked")));
        let cause = leader.fail(error);
        assert_eq!(cause.to_string(), "process 1: a worker panicked");
        assert_eq!(cause.exit_code(), 70);
        assert_eq!(failing.join().unwrap().exit_code(), 70);
        assert_eq!(noticing.join().unwrap().exit_code(), 70);
    });
}

#[test]
fn the_loss_of_a_link_names_the_process_that_is_gone() {
    let Three { leader, mut members, up, down: _down } = three();
    let last = members.pop().unwrap();
    // Process 1 is gone, and process 2 closes its connections of timely because of that.
    drop(members);
    let (process, _) = failure(&up);
    assert_eq!(process, 1);
    let cause = leader.fail(Error::lost("process 2 is gone"));
    assert_eq!(cause.to_string(), "process 1 is gone");
    drop(last);
}

#[test]
fn a_failure_of_process_0_keeps_its_cause_everywhere() {
    let Three { leader, members, up: _up, down: _down } = three();
    let error = Error::connect("can't commit").because(std::io::Error::other("the disk is full"));
    let own = leader.fail(error);
    assert!(std::error::Error::source(&own).is_some(), "the error itself");
    drop(leader);
    for mut member in members {
        let error = member.welcomed::<()>().err().unwrap();
        assert_eq!(error.to_string(), "process 0: can't commit: the disk is full");
        assert_eq!(member.fail(error).exit_code(), 69);
    }
}

#[test]
fn a_run_that_is_dropped_is_gone_for_the_others() {
    let Three { leader, mut members, up, down: _down } = three();
    drop(members.pop());
    let (process, error) = failure(&up);
    assert_eq!((process, error.to_string().as_str()), (2, "process 2 is gone"));
    drop(leader);
    let error = members[0].welcomed::<()>().err().unwrap();
    assert_eq!(error.to_string(), "process 0 is gone");
    // Process 0 answers no more. Process 2 may have ended because of it.
    assert_eq!(error.exit_code(), 75);
    let cause = members[0].fail(Error::lost("process 2 is gone"));
    assert_eq!(cause.to_string(), "process 0 is gone");
}
