#!/usr/bin/env python3
"""Reads Delta tables in a bucket with independent readers, each with its own S3 client.

    s3_reader.py LAKE TABLE…

Endpoint and credentials are in the environment, as AWS_ENDPOINT_URL and so on. It prints {reader: {table: [row, …]}} of the
latest version, with rows in the form of readers.py. For a reader that can't be loaded it prints the reason on stderr.
"""

import json
import os
import sys

import readers

lake, *tables = sys.argv[1:]
endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
os.environ["AWS_ALLOW_HTTP"] = str(endpoint.startswith("http://")).lower()


def delta_rs():
    return readers.DeltaRs()


def duckdb():
    from duckdb_extensions import import_extension

    reader = readers.DuckDb()
    import_extension("httpfs")  # It provides secrets for S3.
    settings = {
        "KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "SECRET": os.environ["AWS_SECRET_ACCESS_KEY"],
        "REGION": os.environ.get("AWS_REGION", "us-east-1"),
        "ENDPOINT": endpoint.partition("://")[2],
        "URL_STYLE": "path",
    }
    values = ", ".join(f"{name} {readers.quoted(value)}" for name, value in settings.items())
    secure = str(endpoint.startswith("https://")).lower()
    reader.connection.execute("LOAD httpfs")
    reader.connection.execute(f"CREATE SECRET (TYPE s3, {values}, USE_SSL {secure})")
    return reader


import deltalake

seen = {}
for name, make in {"delta-rs": delta_rs, "duckdb": duckdb}.items():
    try:
        reader = make()
    except Exception as error:
        print(f"skipped {name}: {error}", file=sys.stderr)
        continue
    for table in tables:
        version = deltalake.DeltaTable(f"{lake}/{table}").version()
        rows = reader.rows(f"{lake}/{table}", version)
        seen.setdefault(name, {})[table] = [json.loads(readers.exact(row)) for row in rows]
print(json.dumps(seen))
