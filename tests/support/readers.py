#!/usr/bin/env python3
"""Reads every Delta table below a folder with independent readers, and compares their rows.

    readers.py LAKE [--versions | --oracle FOLDER] [--table NAME]…

Readers: DuckDB's `delta_scan`, the Python package of delta-rs, its `to_pyarrow_table` and `to_pandas` for tables without
deletion vectors, and chDB if it is installed. The rows of the first installed reader are the reference; the others must have the
same multiset of rows. For a reader that is not installed, the reason is printed on stderr.

It prints {table: {version: [row, …]}}: the latest version, or with --versions each version in the log.
A table's name is its path below LAKE. Rows are objects, sorted by their JSON text with sorted keys; timestamps are
integer microseconds since 1970 in UTC, bytes are base64.

FOLDER has `<n>.json` for each commit n of the lake: the output of oracle.py for the ranges that n binds. Then every version is
compared with the oracle. The version with the greatest `txn` up to n must have the oracle's rows at n. A version that is no
commit must be marked as changing no data, and must have the rows of the one before it. In the last version, rows are also queried
by the value of each column, which makes readers use the statistics of files. It prints the number of comparisons:
{"readers": [name, …], "versions": …, "commits": …, "compactions": …, "vectors": …, "plain": {table: …}}. The last counts, by table,
the versions that readers without support for deletion vectors could read.

Exit codes: 0 all agree · 1 they differ, or a table can't be read · 2 usage · 3 no reader is installed.
"""

import argparse
import base64
import collections
import datetime
import json
import os
import re
import sys

SHOWN = 5


class DuckDb:
    """DuckDB's `delta_scan`. Its extension is a Python package, so nothing is downloaded at run time."""

    name = "duckdb"

    def __init__(self):
        import duckdb
        from duckdb_extensions import import_extension

        import_extension("delta")
        self.connection = duckdb.connect()
        self.connection.execute("LOAD delta")

    def rows(self, path, version):
        source = f"delta_scan({quoted(path)}, version => {version})"
        types = {name: kind for name, kind, *_ in self.connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        # As Python objects, timestamps would need a time zone package and a year after 0.
        columns = [f'epoch_us("{name}")' if kind.startswith("TIMESTAMP") else f'"{name}"' for name, kind in types.items()]
        found = self.connection.execute(f"SELECT {', '.join(columns)} FROM {source}").fetchall()
        return [dict(zip(types, row)) for row in found]

    def time(self, text):
        return f"'{text}+00:00'::TIMESTAMPTZ"

    def count(self, path, version, where):
        return self.connection.execute(f"SELECT count(*) FROM delta_scan({quoted(path)}, version => {version}) WHERE {where}").fetchone()[0]


class DeltaRs:
    """DataFusion over delta-rs. The query builder supports deletion vectors; `to_pyarrow_table` does not."""

    name = "deltalake"

    def __init__(self):
        import deltalake

        self.package = deltalake

    def rows(self, path, version):
        table = self.package.DeltaTable(path, version=version)
        types = {field.name: field.type for field in table.schema().fields}
        times = {name for name, kind in types.items() if str(getattr(kind, "type", kind)).startswith("timestamp")}
        columns = [f"arrow_cast(\"{name}\", 'Int64') AS \"{name}\"" if name in times else f'"{name}"' for name in types]
        builder = self.package.QueryBuilder().register("seen", table)
        found = []
        for batch in builder.execute(f"SELECT {', '.join(columns)} FROM seen"):
            values = [batch.column(name).to_pylist() for name in types]
            found.extend(dict(zip(types, row)) for row in zip(*values))
        return found

    def time(self, text):
        return f"arrow_cast('{text}Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"

    def count(self, path, version, where):
        builder = self.package.QueryBuilder().register("seen", self.package.DeltaTable(path, version=version))
        return sum(n for batch in builder.execute(f"SELECT count(*) AS n FROM seen WHERE {where}") for n in batch.column("n").to_pylist())


class Pandas:
    """The readers of delta-rs that refuse tables with deletion vectors, like many others."""

    name = "to_pandas"

    def __init__(self):
        import deltalake
        import pandas
        import pyarrow

        self.package, self.arrow, self.pandas = deltalake, pyarrow, pandas

    def reads(self, path, version):
        return self.package.DeltaTable(path, version=version).protocol().min_reader_version == 1

    def rows(self, path, version):
        delta = self.package.DeltaTable(path, version=version)
        table = delta.to_pyarrow_table()
        for at, field in enumerate(table.schema):
            if self.arrow.types.is_timestamp(field.type):
                table = table.set_column(at, field.name, table.column(at).cast(self.arrow.int64()))
        if len(delta.to_pandas()) != table.num_rows:
            raise ValueError("to_pandas shows another number of rows than to_pyarrow_table")
        return table.to_pylist()


class ChDb:
    """ClickHouse in this process: `deltaLakeLocal`. Its arrays have no nulls and its strings no encoding, see `loosely`."""

    name = "chdb"

    def __init__(self):
        import chdb

        os.chdir("/")  # It reads nothing outside the working directory.
        self.connection = chdb.connect(":memory:")

    def rows(self, path, version):
        source = f"deltaLakeLocal({quoted(path)})"
        types = {column["name"]: column["type"] for column in self.query(f"DESCRIBE TABLE {source}")}
        columns = []
        for name, kind in types.items():
            wrap = "toUnixTimestamp64Micro(%s)" if "DateTime64" in kind else "base64Encode(%s)" if "String" in kind else "%s"
            columns.append(wrap % f"t.`{name}`" + f" AS `{name}`")
        found = self.query(f"SELECT {', '.join(columns)} FROM {source} AS t SETTINGS delta_lake_snapshot_version = {version}")
        for row in found:
            for name, kind in types.items():
                if "String" in kind and row[name] is not None:
                    row[name] = base64.b64decode(row[name])
        return found

    def query(self, sql):
        return [json.loads(line) for line in str(self.connection.query(sql, "JSONEachRow")).splitlines()]


READERS = [DuckDb, DeltaRs, Pandas, ChDb]


def quoted(path):
    return "'" + path.replace("'", "''") + "'"


def installed():
    """Returns the installed readers; prints the others on stderr."""
    found = []
    for reader in READERS:
        try:
            found.append(reader())
        except Exception as error:  # Not only ImportError: an extension of another version fails in its own way.
            print(f"skipped {reader.name}: {error}", file=sys.stderr)
    return found


def tables(lake):
    """Returns (name, path) of every table below `lake`, or of `lake` itself if it is one."""
    found = []
    for folder, inner, _ in os.walk(lake):
        if "_delta_log" in inner:
            found.append((os.path.relpath(folder, lake), folder))
            inner.clear()
    return sorted(found)


def versions(path):
    """Returns the versions in the log, ascending."""
    names = (re.fullmatch(r"([0-9]{20})\.json", name) for name in os.listdir(os.path.join(path, "_delta_log")))
    return sorted(int(match[1]) for match in names if match)


def exact(row):
    """The canonical text of a row."""
    return json.dumps(row, sort_keys=True, default=lambda data: base64.b64encode(data).decode("ascii"))


def loosely(row):
    """Returns the canonical text of a row with the types of ClickHouse: no null arrays, bytes for text, untyped numbers."""

    def plain(value):
        if isinstance(value, str):
            return value.encode("utf-8")
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, list):
            return [plain(item) for item in value] or None
        return value

    return exact({name: plain(value) for name, value in row.items()})


def reads(reader, path, version):
    """Returns true if a reader supports this version."""
    return not hasattr(reader, "reads") or reader.reads(path, version)


def compare(readers, name, path, version):
    """Returns the canonical rows of a version, and the differences between the readers."""
    seen, complaints = {}, []
    for reader in readers:
        try:
            if reads(reader, path, version):
                seen[reader] = reader.rows(path, version)
        except Exception as error:
            complaints.append(f"{name} version {version}: {reader.name} can't read it: {error}")
    if not seen:
        return None, complaints
    first, *others = seen
    for other in others:
        text = loosely if isinstance(other, ChDb) or isinstance(first, ChDb) else exact
        mine, theirs = ([text(row) for row in seen[reader]] for reader in (first, other))
        complaints += differences(f"{name} version {version}", first.name, mine, other.name, theirs)
    return sorted(exact(row) for row in seen[first]), complaints


def differences(what, first, mine, other, theirs):
    """Returns the differences between the canonical rows of `first` and `other`."""
    mine, theirs = collections.Counter(mine), collections.Counter(theirs)
    complaints = []
    for reader, only in ((first, mine - theirs), (other, theirs - mine)):
        if only:
            some = "".join(f"\n    {row}" for row in sorted(only)[:SHOWN])
            complaints.append(f"{what}: {only.total()} rows only for {reader}:{some}")
    return complaints


def skip(readers, name, path, version, rows):
    """Returns the errors of readers that skip files by statistics: a wrong statistic makes them miss rows."""
    complaints, rows = [], [json.loads(row) for row in rows]
    types = {field["name"]: field["type"] for field in fields(path)}
    for column in (column for column in types if types[column] != "binary"):
        values = sorted(row[column] for row in rows if isinstance(row[column], (int, float, str)) and row[column] != "")
        wheres = [(f'"{column}" IS NULL', sum(row[column] is None for row in rows))]
        for value in {values[0], values[len(values) // 2], values[-1]} if values else []:
            wheres.append((("=", value), values.count(value)))
            wheres.append(((">", value), sum(other > value for other in values)))
        for reader in (reader for reader in readers if hasattr(reader, "count")):
            for where, expected in wheres:
                if not isinstance(where, str):
                    sign, value = where
                    if types[column] == "timestamp":
                        value = reader.time((datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=value)).isoformat(" "))
                    where = f'"{column}" {sign} {quoted(value) if types[column] == "string" else value}'
                found = reader.count(path, version, where)
                if found != expected:
                    complaints.append(f"{name} version {version}: {reader.name} finds {found} rows, not {expected}, where {where}")
    return complaints


def fields(path):
    """Returns the columns of a table, from its first version."""
    made = next(action["metaData"] for action in log(path, 0) if "metaData" in action)
    return json.loads(made["schemaString"])["fields"]


def oracle(folder):
    """Loads the oracle's output: commit -> table -> canonical rows."""
    expected = {}
    for file in os.listdir(folder):
        with open(os.path.join(folder, file), encoding="utf-8") as text:
            found = json.load(text)
        tables = {name: [exact(row) for row in rows] for part in ("tables", "views") for name, rows in found[part].items()}
        tables["dead_letters"] = [letter(topic.rpartition(".")[2], *place) for topic, *place, _ in found["dead_letters"]]
        expected[int(file.removesuffix(".json"))] = tables
    return expected


def letter(topic, partition, position):
    """Returns the fields of a dead letter that the oracle has: its origin."""
    return f"{topic} {partition} {position}"


def log(path, version):
    """The actions of a version."""
    with open(os.path.join(path, "_delta_log", f"{version:020}.json"), encoding="utf-8") as text:
        return [json.loads(line) for line in text]


def follow(readers, name, path, expected, count, plain):
    """Reads a table at every version, compares it with the oracle's `expected` rows, and returns the differences."""
    table = name.partition("_")[2] if name.endswith("_table") else name
    logs = {version: log(path, version) for version in versions(path)}
    # A new table counts as commit 0.
    made = {version: next((a["txn"]["version"] for a in actions if "txn" in a), None) for version, actions in logs.items()}
    made[0] = 0
    complaints, last, before = [], -1, []
    for version, n in made.items():
        what = f"{name} version {version}"
        rows, found = compare(readers, name, path, version)
        complaints += found
        if rows is None:
            continue
        files = [file for action in logs[version] for kind, file in action.items() if kind in ("add", "remove")]
        count["versions"] += 1
        plain[name] += any(hasattr(reader, "reads") and reads(reader, path, version) for reader in readers)
        count["vectors"] += sum("add" in action and "deletionVector" in action["add"] for action in logs[version])
        if n is None:
            # The others record the takeover of the table by a run.
            count["compactions"] += bool(files)
            if any(file["dataChange"] for file in files):
                complaints.append(f"{what} changes the table, but is no commit")
            complaints += differences(what, "the version before", before, "this", rows)
            continue
        if n <= last or n not in expected and version > 0:
            complaints.append(f"{what} is commit {n}, which comes after {last}, or which the oracle lacks")
        later = min((m for m in made.values() if m is not None and m > n), default=max(expected) + 1)
        seen = rows
        if table == "dead_letters":
            seen = [letter(row["topic"], row["partition"], row["position"]) for row in map(json.loads, rows)]
        for m in (m for m in expected if n <= m < later):
            count["commits"] += 1
            complaints += differences(f"{what}, commit {m}", "the oracle", expected[m][table], "the readers", seen)
        last, before = n, rows
    return complaints + skip(readers, name, path, version, rows)


def main():
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("lake", metavar="LAKE")
    command.add_argument("--versions", action="store_true", help="every version, not only the latest")
    command.add_argument("--oracle", metavar="FOLDER", help="compare every version with the output of the oracle")
    command.add_argument("--table", action="append", metavar="NAME", help="only the table of this name")
    options = command.parse_args()
    if not os.path.isdir(options.lake):
        command.error("LAKE is no folder")
    lake = os.path.abspath(options.lake)
    readers = installed()
    if not readers:
        return 3
    print("compared:", ", ".join(reader.name for reader in readers), file=sys.stderr)
    answer, complaints = {}, []
    expected, count = oracle(options.oracle) if options.oracle else None, collections.Counter(versions=0, commits=0, compactions=0, vectors=0)
    plain = collections.Counter()
    for name, path in tables(lake):
        if options.table and name not in options.table:
            continue
        if expected:
            complaints += follow(readers, name, path, expected, count, plain)
            continue
        known = versions(path)
        for version in known if options.versions else known[-1:]:
            rows, found = compare(readers, name, path, version)
            complaints += found
            if rows is not None:
                answer.setdefault(name, {})[version] = [json.loads(row) for row in rows]
    print(json.dumps({"readers": [reader.name for reader in readers], **count, "plain": plain} if expected else answer))
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
