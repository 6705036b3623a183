#!/usr/bin/env python3
"""How long from `PUT /streams/<name>/record` to the committed row of the Delta table?

    cargo build --release && python3 benches/live.py            by Kinesis (Kinesis Mock) and by the embedded log
    python3 benches/live.py --records 50 --commit-every 100ms

It runs the real programs: `pinterest gateway` receives the record, `pinterest run --follow` reads it and commits. Each record is
sent after the row of the previous one is committed. So this measures latency, not throughput."""
import argparse, glob, http.client, json, os, signal, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(HERE, "../target/release/pinterest"))
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--commit-every", default="0ms")
    args = parser.parse_args()
    print(f"{args.records} records one after the other, --commit-every {args.commit_every}; milliseconds")
    print(f"{'by':>14} {'acknowledged':>22} {'row committed':>22}")
    for way in ("kinesis", "embedded log"):
        with tempfile.TemporaryDirectory() as place:
            acknowledged, committed = measure(args, way, place)
        print(f"{way:>14} {shares(acknowledged):>22} {shares(committed):>22}")


def measure(args, way, place):
    run = lambda *words: subprocess.run([args.program, *words], cwd=place, check=True, stdout=subprocess.PIPE)
    run("generate", "--to", "rows", "--events", str(args.records + 20), "--dirt", "0")
    lines = [line for path in sorted(glob.glob(place + "/rows/topics/demo.pin/*/*.json")) for line in open(path, "rb")]
    log = place + "/archive"
    if way == "kinesis":
        found = subprocess.run(["bash", HERE + "/../tests/services/up", "kinesis"], check=True, stdout=subprocess.PIPE, text=True)
        os.environ["AWS_ENDPOINT_URL_KINESIS"] = found.stdout.strip().split("=", 1)[1]
        os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
        log = "kinesis://eu-west-1"
        run("streams", "create", "--at", log, "--shards", "1")
    start = lambda *words: subprocess.Popen([args.program, *words], cwd=place, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    programs = []
    try:
        programs.append(start("gateway", "--listen", "127.0.0.1:0", "--to", log))
        port = int(programs[0].stdout.readline().split("//", 1)[1].split(",")[0].rsplit(":", 1)[1])
        programs.append(start("run", "--follow", "--from", log, "--lake", "lake", "--commit-every", args.commit_every))
        return send(http.client.HTTPConnection("127.0.0.1", port), lines, place + "/lake/demo_pin_table/_delta_log")
    finally:
        for program in programs:
            program.send_signal(signal.SIGTERM)
        for program in programs:
            program.communicate()
        if way == "kinesis":
            for kind in ("pin", "geo", "user"):
                run("streams", "delete", "--at", log, "--yes", f"streaming-demo-{kind}")


def send(gateway, lines, table):
    acknowledged, committed = [], []
    for number, line in enumerate(lines):
        body = json.dumps({"StreamName": "streaming-demo-pin", "Data": json.loads(line), "PartitionKey": "p"})
        before, began = version(table), time.perf_counter()
        gateway.request("PUT", "/streams/streaming-demo-pin/record", body, {"Content-Type": "application/json"})
        answer = gateway.getresponse()
        body_read = answer.read()
        if answer.status != 200:
            sys.exit(f"unexpected response {answer.status}: {body_read}")
        answered = time.perf_counter()
        while version(table) <= before:
            if time.perf_counter() - began > 30:
                sys.exit("no row was committed in 30 seconds")
            time.sleep(0.0005)
        if number >= 20:
            acknowledged.append(answered - began)
            committed.append(time.perf_counter() - began)
    return acknowledged, committed


def version(table):
    """The last version of a table, -1 before there is one."""
    try:
        return max((int(name[:20]) for name in os.listdir(table) if name.endswith(".json") and name[:20].isdigit()), default=-1)
    except FileNotFoundError:
        return -1


def shares(seconds):
    seconds = sorted(seconds)
    at = lambda share: seconds[min(len(seconds) - 1, int(len(seconds) * share))] * 1e3
    return f"p50 {at(0.5):.1f}, p99 {at(0.99):.1f}"


main()
