"""Reads streams of Kinesis with boto3, which shares no code with ours, from the first record to the newest.

usage: kinesis_reader.py STREAM...

Prints a line of JSON for each record: stream, shard, sequence number, partition key, and the data as a list of bytes. Region,
endpoint and credentials come from the environment.
"""

import json
import sys

import boto3


def records(kinesis, stream, shard):
    start = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    iterator = start["ShardIterator"]
    while iterator:
        page = kinesis.get_records(ShardIterator=iterator)
        yield from page["Records"]
        if page["MillisBehindLatest"] == 0:
            return
        iterator = page.get("NextShardIterator")


def main():
    kinesis = boto3.client("kinesis")
    for stream in sys.argv[1:]:
        for page in kinesis.get_paginator("list_shards").paginate(StreamName=stream):
            for shard in (shard["ShardId"] for shard in page["Shards"]):
                for record in records(kinesis, stream, shard):
                    line = {"stream": stream, "shard": shard, "sequence": record["SequenceNumber"]}
                    line |= {"key": record["PartitionKey"], "data": list(record["Data"])}
                    print(json.dumps(line))


main()
