//! The ends of the help pages: examples of every command, each of which parses.

pub(crate) const ABOUT: &str = "Three streams of posts, places and users, cleaned once and kept \
    joined: ten standing answers in Delta tables.

Without a command it does the same as run: it generates an archive of 11,154 events if there is none, replays it, and prints the answers.";

pub(crate) const GENERATE_ABOUT: &str =
    "Write an archive of generated events. The same arguments give the same bytes";

pub(crate) const EMULATE_ABOUT: &str =
    "Post events as users do: each is a row of three tables, sent as three records";

/// The ends of the help pages, by the command.
pub(crate) const PAGES: [(&str, &str); 10] = [
    ("", ALL),
    ("run", RUN),
    ("generate", GENERATE),
    ("answers", ANSWERS),
    ("check", CHECK),
    ("describe", DESCRIBE),
    ("archive", ARCHIVE),
    ("gateway", GATEWAY),
    ("emulate", EMULATE),
    ("streams", STREAMS),
];

const ALL: &str = "Examples:
  pinterest                                     generate, replay, answer
  pinterest run --follow                        continue as objects are added; Ctrl-C commits and ends
  pinterest answers category_by_country         one view, from the Delta tables
  pinterest answers --format json --as-of 3     all views as they were at commit 3
  pinterest run --from archive --from kafka://localhost:9092 --follow
                                                replay an archive, then follow the Kafka it was copied from
  pinterest check                               compute all tables again by a naive program, and compare
  pinterest generate --events 1000000 --to big  a larger archive
  pinterest run --from big --lake big-lake      … and its answers
  pinterest archive --from kafka://localhost:9092 --to archive --follow
                                                copy the topics into an archive, as Confluent's S3 sink does
  pinterest gateway                             accept records by HTTP, for the archive that run --follow reads
  pinterest emulate --to http://127.0.0.1:8082  post events to it
  pinterest gateway --to kafka://host:9092      … into Kafka, or Kinesis: kinesis://eu-west-1
  pinterest streams create --user-id demo       create the streams of Kinesis; see streams --help

Exit codes: 0 success, 1 check found a difference, 2 usage, 65 a source, state or table contradicts its record,
69 a service or a folder can't be reached, 70 a bug in the program, 76 a newer run took over, 78 configuration.";

const RUN: &str = "Examples:
  pinterest run                                 replay data/archive into data/lake; a second run continues
  pinterest run --follow --commit-every 200ms   continue as objects are added; Ctrl-C commits and ends
  pinterest run --from s3://bucket/archive --lake s3://bucket/lake
  pinterest run --from kinesis://eu-west-1 --user-id 0a1b --follow --state state
  pinterest run --from archive --from kafka://localhost:9092 --follow
                                                replay an archive, then follow the Kafka it was copied from
  pinterest run --lake bounded --post-years 2018..2022 --join-years 2015..2020";

const GENERATE: &str = "Examples:
  pinterest generate                            11,154 events into data/archive
  pinterest generate --events 1000000 --to big --records-per-object 10000
  pinterest generate --seed 7 --dirt 0.2 --to dirty --user-id 0a1b
  pinterest generate --to mysql://root@localhost/pinterest_data
                                                the original's three tables, which emulate reads";

const ANSWERS: &str = "Examples:
  pinterest answers                             all views, the first rows of each
  pinterest answers category_by_country         one view, all of it
  pinterest answers dead_letters --format json  records that can't be used, and the reasons
  pinterest answers pin_table --format csv --lake s3://bucket/lake
  pinterest answers --as-of 3                   all views as they were at commit 3";

const CHECK: &str = "Examples:
  pinterest check                               data/archive against data/lake
  pinterest check --from big --lake big-lake    with the arguments of the run that is checked";

const DESCRIBE: &str = "Examples:
  pinterest describe
  pinterest describe --from archive --from kafka://localhost:9092 --lake s3://bucket/lake
                                                the sources and tables of a run with these arguments";

const GATEWAY: &str = "Examples:
  pinterest gateway                             into data/archive, which run --follow reads
  pinterest gateway --to kafka://localhost:9092 --listen 127.0.0.1:0 --access-log
  pinterest gateway --to kinesis://eu-west-1 --user-id 0a1b
  pinterest gateway --listen 0.0.0.0:8443 --tokens tokens --certificate cert.pem --key key.pem --rate 100
  pinterest gateway --listen 0.0.0.0:8082 --anyone --host gateway.local --share 100";

const EMULATE: &str = "Examples:
  pinterest emulate --to http://127.0.0.1:8082                     two events a second, until Ctrl-C
  pinterest emulate --to kafka://host:9092 --events 1000 --rate 0  as fast as possible
  pinterest emulate --to https://ID.execute-api.REGION.amazonaws.com/prod --style kinesis-proxy
  pinterest emulate --from mysql://user@host/database --credentials db_creds.yaml --in-order --events 11154
  pinterest emulate --from mysql:// --credentials db_creds.yaml    all values in the file:

    HOST: host
    USER: user
    PASSWORD: …
    DATABASE: pinterest_data
    PORT: 3306";

const STREAMS: &str = "Examples:
  pinterest streams list --at kinesis://eu-west-1
  pinterest streams create --user-id demo --shards 2             streaming-demo-pin, -geo and -user
  pinterest streams describe streaming-demo-pin
  pinterest streams reshard streaming-demo-pin --shards 4        from half to twice the present number
  pinterest streams delete streaming-demo-pin                    requests the name again, unless --yes is given

Credentials are those of the AWS environment. AWS_ENDPOINT_URL_KINESIS selects another service.";

const ARCHIVE: &str = "Examples:
  pinterest archive --from kafka://host:9092                copy the present records into data/archive
  pinterest archive --from kafka://host:9092 --to s3://bucket/archive --flush-size 500 --rotate-interval 10m --follow
  pinterest run --from s3://bucket/archive --from kafka://host:9092 --follow        read both as one log

Objects are topics/<topic>/partition=<p>/<topic>+<p>+<first offset>.json, one JSON value per line: the layout of
Confluent's S3 sink with JsonFormat. Values are copied byte for byte. Keys are not kept; a null value is the line null.

Each object is created once, when it is complete. Only the records and the options decide where an object ends: a copy
that is killed and started again, or run twice at the same time, creates the same objects. Records of an incomplete object
stay in Kafka and are read again next time. Objects are never replaced: one with other bytes is an error. While archive
writes into a folder, gateway, generate and emulate can't, and vice versa.

A topic with offsets that no record has, as transactions and compaction leave them, is refused.";
