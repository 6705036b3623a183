"""Posts events like the emulator of the original project: three rows an event, one request a record, in either protocol.

usage: post.py URL rest-proxy|kinesis-proxy USER_ID FIRST COUNT

Prints a line of JSON for each accepted record: its topic, its value, the value's text as sent, and the response. Exits with 1
at the first response other than 200. Needs only `requests`.
"""

import json
import random
import sys
from datetime import datetime, timedelta

import requests


class Tables:
    """Rows like those of pinterest_data, geolocation_data and user_data, seeded by their number: the same in every run."""

    def __init__(self, seed):
        self.seed = seed

    def row(self, n):
        draw = random.Random(self.seed * 1_000_003 + n)
        day = datetime(2017, 10, 9) + timedelta(seconds=draw.randrange(150_000_000))
        pin = {
            "index": n,
            "unique_id": "%08x-0000-4000-8000-%012x" % (draw.randrange(1 << 32), n),
            "title": draw.choice(["10 Ways “to” Paint\nA Wall", "Ёлка  своими руками", "No Title Data Available"]),
            "description": draw.choice(["A chair… ", "Untitled", "No description available Story format"]),
            "poster_name": draw.choice(["Of Life & Lisa | Lifestyle Blog", "Amber", "User Info Error"]),
            "follower_count": draw.choice(["437", "124k", "15M", "0", "User Info Error"]),
            "tag_list": "a,b,c",
            "is_image_or_video": "image",
            "image_src": "https://i.example.com/%d.jpg" % n,
            "downloaded": 1,
            "save_location": "Local save in /data/travel",
            "category": draw.choice(["travel", "art", "finance"]),
        }
        geo = {
            "ind": n,
            "timestamp": day,
            "latitude": round(draw.uniform(-90, 90), 4),
            "longitude": round(draw.uniform(-180, 180), 4),
            "country": draw.choice(["Cote d'Ivoire", "Albania", "Antarctica (the territory South of 60 deg S)"]),
        }
        user = {
            "ind": n,
            "first_name": draw.choice(["Aaron", "Zoë"]),
            "last_name": "Abbott",
            "age": draw.randrange(20, 61),
            "date_joined": day - timedelta(days=400),
        }
        return pin, geo, user


def request(base, style, user_id, kind, value):
    """Returns method, URL and arguments of the request for one record."""
    payload = json.dumps
    if style == "rest-proxy":
        body = payload({"records": [{"value": value}]}, default=str)
        headers = {"Content-Type": "application/vnd.kafka.json.v2+json"}
        return "POST", f"{base}/topics/{user_id}.{kind}", {"headers": headers, "data": body}
    stream = f"streaming-{user_id}-{kind}"
    body = payload({"StreamName": stream, "Data": value, "PartitionKey": str(value.get("index", value.get("ind")))}, default=str)
    return "PUT", f"{base}/streams/{stream}/record", {"headers": {"Content-Type": "application/json"}, "data": body}


def main():
    base, style, user_id, first, count = sys.argv[1:]
    tables = Tables(100)
    session = requests.Session()
    for n in range(int(first), int(first) + int(count)):
        for kind, value in zip(("pin", "geo", "user"), tables.row(n)):
            method, url, arguments = request(base, style, user_id, kind, value)
            response = session.request(method, url, timeout=60, **arguments)
            if response.status_code != 200:
                sys.exit(f"{method} {url}: {response.status_code} {response.text}")
            # The request has these bytes: json.dumps formats a nested value like a value alone.
            text = json.dumps(value, default=str)
            line = {"topic": f"{user_id}.{kind}", "value": json.loads(text), "text": text, "answer": response.json()}
            print(json.dumps(line), flush=True)


main()
