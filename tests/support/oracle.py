#!/usr/bin/env python3
"""The independent oracle of the `pinterest` program: archive in, tables and answers out, by plain loops.

It shares only the specification with the program, prefers simple code to fast code, and needs only the standard library.

    oracle.py ARCHIVE [--then ARCHIVE]… [--user-id demo] [--post-years A..B] [--join-years A..B] [--upto FILE.json]
    oracle.py --serve
    oracle.py --self-test

ARCHIVE holds `topics/<topic>/partition=<p>/<topic>+<p>+<first offset>.json`. FILE.json maps topic to partition to the
end offset (exclusive); topics and partitions that it does not name are not read. Year bounds include both ends. All records
of an archive after --then are later than those of the archives before it.

With --serve it answers requests, one a line of standard input: {"archive": ARCHIVE, "upto": {…} or null}.

It prints one JSON object:

    tables        pin_table, geo_table, user_table: the rows, timestamps as integer microseconds since 1970 in UTC
    views         the ten views, by name
    dead_letters  [topic, partition, offset, class of the reason], by topic, partition and offset
    read          topic -> number of records read
    other_files   number of files in the archive that are no objects of a topic

Rows are sorted by their JSON text with sorted keys.
"""

import argparse
import base64
import binascii
import gc
import json
import os
import re
import sys
import tempfile
from pathlib import Path

MEBIBYTE = 1 << 20
MAX_NESTING = 64
LEAST_LONG, GREATEST_LONG = -(1 << 63), (1 << 63) - 1

# Unicode White_Space. Python's isspace() also accepts U+001C to U+001F, which don't belong to it.
BLANKS = {chr(c) for c in [*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]}

NO_DATA = {
    "title": {"No Title Data Available"},
    "description": {"No description available", "No description available Story format", "Untitled"},
    "poster_name": {"User Info Error"},
    "follower_count": {"User Info Error"},
    "tag_list": {"N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"},
    "image_src": {"Image src error.", "Image src error"},
}

FOLLOWERS = re.compile(r"([0-9]+)(?:\.([0-9]+))?(?:([%s]*)([kKmMbB]))?" % "".join(sorted(BLANKS)))
ZEROS_OF_UNIT = {None: 0, "k": 3, "m": 6, "b": 9}

CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
DATES = [
    re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2}) " + CLOCK),
    re.compile(r"(?P<year>[0-9]{4}):(?P<month>[0-9]{2}):(?P<day>[0-9]{2}) " + CLOCK),
    re.compile(r"(?P<month>[0-9]{2})/(?P<day>[0-9]{2})/(?P<year>[0-9]{4}), " + CLOCK),
    re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})T" + CLOCK + r"(?:\.(?P<fraction>[0-9]{1,6}))?(?:Z|\+00:00|\+0000)?"),
]
DAYS_OF_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
OBJECT_NAME = re.compile(r"(.+)\+([0-9]+)\+([0-9]{10,})\.json")


class DeadLetter(Exception):
    """An unusable record; the text is the class of the reason."""


# --- bytes to one JSON object ---------------------------------------------------------------------------------------


def parse(text):
    """Parses the JSON value of `text`, more strictly than Python by default."""
    try:
        value = STRICT.decode(text)
        if SURROGATE_ESCAPE.search(text):
            refuse_lone_surrogates(value)
        return value
    except RecursionError:
        raise DeadLetter("nesting")
    except ValueError:
        raise DeadLetter("json")


def once_each(pairs):
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DeadLetter("duplicate key")
    return fields


def integer(digits):
    # -0 is a double, and so is any integer outside the range of a long.
    return number(digits) if digits == "-0" or len(digits) > 25 else int(digits)


def number(digits):
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise DeadLetter("number")
    return value


def no_constant(name):
    raise DeadLetter("json")


STRICT = json.JSONDecoder(object_pairs_hook=once_each, parse_int=integer, parse_float=number, parse_constant=no_constant)
SORTED = json.JSONEncoder(sort_keys=True)


def refuse_lone_surrogates(value):
    if isinstance(value, str):
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise DeadLetter("json")
    elif isinstance(value, list):
        for item in value:
            refuse_lone_surrogates(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            refuse_lone_surrogates(key)
            refuse_lone_surrogates(item)


def depth(value):
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return 0
    deepest = 0
    for item in value:
        if isinstance(item, (dict, list)):
            deepest = max(deepest, depth(item))
    return 1 + deepest


def text_of(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise DeadLetter("utf-8")


def unbase64(text):
    """Decodes `text` from base64: standard alphabet, padded, no other characters. Returns None if it is anything else."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return data if data and base64.b64encode(data).decode("ascii") == text else None


def record_object(data):
    """Parses a record into its object, after unwrapping an array, base64 or a string."""
    if len(data) > MEBIBYTE:
        raise DeadLetter("size")
    text = text_of(data)
    try:
        value = parse(text)
    except DeadLetter:
        inner = unbase64(text)
        if inner is None:
            raise
        value = parse(text_of(inner))
    else:
        if isinstance(value, str):
            inner = unbase64(value)
            value = parse(value if inner is None else text_of(inner))
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise DeadLetter("tombstone" if value is None else "no object")
    try:
        if depth(value) > MAX_NESTING:
            raise DeadLetter("nesting")
    except RecursionError:
        raise DeadLetter("nesting")
    return value


# --- one JSON object to one clean row -------------------------------------------------------------------------------


def blank(text):
    for c in text:
        if c not in BLANKS:
            return False
    return True


def text_field(record, name):
    value = record.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise DeadLetter("type of " + name)
    return None if value in NO_DATA.get(name, ()) or blank(value) else value


def long_field(value, name):
    if type(value) is not int or not LEAST_LONG <= value <= GREATEST_LONG:
        raise DeadLetter(name)
    return value


def ind_of(record):
    value = record.get("ind")
    return long_field(record.get("index") if value is None else value, "ind")


def followers(text):
    """`51k` is 51000; fractions, and values outside the range of a long, are refused."""
    if text is None:
        return None
    match = FOLLOWERS.fullmatch(text)
    if not match:
        raise DeadLetter("follower_count")
    whole, fraction, _, unit = match.groups()
    zeros = ZEROS_OF_UNIT[unit.lower() if unit else None]
    whole, fraction = whole.lstrip("0"), (fraction or "").rstrip("0")
    if len(fraction) > zeros or len(whole) > 19:
        raise DeadLetter("follower_count")
    count = int((whole or "0") + fraction + "0" * (zeros - len(fraction)))
    if count > GREATEST_LONG:
        raise DeadLetter("follower_count")
    return count


def leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_before(year):
    """Days from 0000-01-01 to `year`-01-01."""
    past = year - 1
    return 365 * year + past // 4 - past // 100 + past // 400 + 1


def date_field(record, name):
    """(microseconds since 1970, year), or (None, None)."""
    value = record.get(name)
    if value is None:
        return None, None
    if not isinstance(value, str):
        raise DeadLetter("type of " + name)
    for form in DATES:
        match = form.fullmatch(value)
        if match:
            break
    else:
        raise DeadLetter(name)
    part = {key: text for key, text in match.groupdict().items() if text}
    year, month, day = int(part["year"]), int(part["month"]), int(part["day"])
    hour, minute, second = int(part["hour"]), int(part["minute"]), int(part["second"])
    if not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59:
        raise DeadLetter(name)
    february = 29 if leap(year) else 28
    lengths = [february if m == 1 else n for m, n in enumerate(DAYS_OF_MONTH)]
    if not 1 <= day <= lengths[month - 1]:
        raise DeadLetter(name)
    days = days_before(year) - days_before(1970) + sum(lengths[: month - 1]) + day - 1
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    return seconds * 1_000_000 + int(part.get("fraction", "0").ljust(6, "0")), year


def degrees(record, name):
    value = record.get(name)
    if value is None:
        return None
    if type(value) not in (int, float):
        raise DeadLetter("type of " + name)
    return float(value)


def clean_pin(record):
    save_location = text_field(record, "save_location")
    if save_location is not None and save_location.startswith("Local save in "):
        save_location = save_location[len("Local save in ") :]
        if blank(save_location):
            save_location = None
    row = {
        "ind": ind_of(record),
        "unique_id": text_field(record, "unique_id"),
        "title": text_field(record, "title"),
        "description": text_field(record, "description"),
        "follower_count": followers(text_field(record, "follower_count")),
        "poster_name": text_field(record, "poster_name"),
        "tag_list": text_field(record, "tag_list"),
        "is_image_or_video": text_field(record, "is_image_or_video"),
        "image_src": text_field(record, "image_src"),
        "save_location": save_location,
        "category": text_field(record, "category"),
    }
    return row, None


def clean_geo(record):
    timestamp, year = date_field(record, "timestamp")
    latitude, longitude = degrees(record, "latitude"), degrees(record, "longitude")
    row = {
        "ind": ind_of(record),
        "country": text_field(record, "country"),
        "coordinates": None if latitude is None or longitude is None else [latitude, longitude],
        "timestamp": timestamp,
    }
    return row, year


def clean_user(record):
    date_joined, year = date_field(record, "date_joined")
    names = [name for name in (text_field(record, "first_name"), text_field(record, "last_name")) if name is not None]
    age = record.get("age")
    row = {
        "ind": ind_of(record),
        "user_name": " ".join(names) if names else None,
        "age": None if age is None else long_field(age, "age"),
        "date_joined": date_joined,
    }
    return row, year


KINDS = {"pin": ("unique_id", clean_pin), "geo": ("timestamp", clean_geo), "user": ("date_joined", clean_user)}


def clean(kind, data):
    """Cleans a record of `kind`. Returns the row and the year of its date; raises DeadLetter."""
    record = record_object(data)
    mark, cleaner = KINDS[kind]
    if mark not in record:
        raise DeadLetter("another kind")
    return cleaner(record)


# --- the archive ----------------------------------------------------------------------------------------------------


def lines_of(data):
    """Splits an object into records, one a line; a final newline begins no record."""
    lines = data.split(b"\n")
    if lines[-1] == b"" and (len(lines) > 1 or data == b""):
        lines.pop()
    return lines


def objects_of(archive, topic):
    """Returns (partition, first offset, path) of the topic's objects, and the number of other files in its folder."""
    objects, others = [], 0
    root = os.path.join(archive, "topics", topic)
    for folder, _, names in os.walk(root):
        for name in names:
            match = OBJECT_NAME.fullmatch(name)
            if match and match[1] == topic and folder == os.path.join(root, "partition=" + match[2]):
                objects.append((int(match[2]), int(match[3]), os.path.join(folder, name)))
            else:
                others += 1
    return sorted(objects), others


def read_topic(archive, topic, ends):
    """Returns (partition, offset, bytes) of every record before the end of its partition, and the number of other files."""
    objects, others = objects_of(archive, topic)
    records, reached = [], {}
    for partition, first, path in objects:
        if first < reached.get(partition, 0):
            sys.exit(f"{path}: offset {first} was in an earlier object already")
        end = None if ends is None else ends.get(str(partition), 0)
        lines = []
        if end is None or first < end:
            with open(path, "rb") as file:
                lines = lines_of(file.read())
        for k, line in enumerate(lines):
            if end is None or first + k < end:
                records.append((partition, first + k, line))
        reached[partition] = first + len(lines)
    return records, others


def ends_of(upto, topic, kind):
    """Returns the ends of a topic's partitions by number, as text; None for no limit."""
    if upto is None:
        return None
    return {str(partition): end for partition, end in upto.get(topic, upto.get(kind, {})).items()}


# --- the answers ----------------------------------------------------------------------------------------------------


def age_group(age):
    if age is None:
        return None
    if age < 18:
        return "under-18"
    if age <= 24:
        return "18-24"
    if age <= 35:
        return "25-35"
    if age <= 50:
        return "36-50"
    return "50+"


def within(year, bounds):
    low, high = bounds
    return year is not None and (low is None or year >= low) and (high is None or year <= high)


def counted(pairs):
    counts = {}
    for pair in pairs:
        if None not in pair:
            counts[pair] = counts.get(pair, 0) + 1
    return counts


def top(counts):
    """Returns the greatest counts of each group in (group, category) -> count, with ties."""
    best = {}
    for (group, _), count in counts.items():
        best[group] = max(best.get(group, 0), count)
    return {pair: count for pair, count in counts.items() if count == best[pair[0]]}


def medians(pairs):
    """Returns the lower median of each group in (group, value). Null values, and groups with a null, don't count."""
    groups = {}
    for group, value in pairs:
        if None not in group and value is not None:
            groups.setdefault(group, []).append(value)
    return {group: sorted(values)[(len(values) - 1) // 2] for group, values in groups.items()}


def answers(pins, geos, users, post_years, join_years):
    """Computes the ten views of three tables, each ind -> (row, year)."""
    pin_geo = [(pins[ind][0], *geos[ind]) for ind in pins if ind in geos]
    pin_user = [(pins[ind][0], *users[ind]) for ind in pins if ind in users]

    by_country = counted((geo["country"], pin["category"]) for pin, geo, _ in pin_geo)
    by_year = counted((year, pin["category"]) for pin, _, year in pin_geo if within(year, post_years))
    by_age = counted((age_group(user["age"]), pin["category"]) for pin, user, _ in pin_user)

    posts = set()
    for pin, geo, _ in pin_geo:
        post = (geo["country"], pin["poster_name"], pin["follower_count"])
        if None not in post:
            posts.add(post)
    highest = {}
    for country, _, count in posts:
        highest[country] = max(highest.get(country, 0), count)
    top_posts = [post for post in posts if post[2] == highest[post[0]]]
    top_countries = [post for post in top_posts if post[2] == max(highest.values())]

    joined = {}
    for user, year in users.values():
        if within(year, join_years):
            joined.setdefault(year, set()).add((user["user_name"], user["age"], user["date_joined"]))

    by_age_median = medians(((age_group(user["age"]),), pin["follower_count"]) for pin, user, _ in pin_user)
    of_years = [(pin["follower_count"], age_group(user["age"]), year) for pin, user, year in pin_user if within(year, join_years)]
    by_join_median = medians(((year,), count) for count, _, year in of_years)
    by_both_median = medians(((year, group), count) for count, group, year in of_years)

    def rows(columns, tuples):
        return [dict(zip(columns, values)) for values in tuples]

    def flat(mapping):
        return [(*group, value) for group, value in mapping.items()]

    return {
        "category_by_country": rows(["country", "category", "category_count"], flat(top(by_country))),
        "category_by_year": rows(["post_year", "category", "category_count"], flat(top(by_year))),
        "category_count_by_year": rows(["post_year", "category", "category_count"], flat(by_year)),
        "top_user_by_country": rows(["country", "poster_name", "follower_count"], top_posts),
        "top_country": rows(["country", "poster_name", "follower_count"], top_countries),
        "category_by_age_group": rows(["age_group", "category", "category_count"], flat(top(by_age))),
        "median_followers_by_age_group": rows(["age_group", "median_follower_count"], flat(by_age_median)),
        "users_joined_by_year": rows(["year_joined", "number_users_joined"], [(year, len(who)) for year, who in joined.items()]),
        "median_followers_by_joining_year": rows(["year_joined", "median_follower_count"], flat(by_join_median)),
        "median_followers_by_joining_year_and_age_group": rows(
            ["year_joined", "age_group", "median_follower_count"], flat(by_both_median)
        ),
    }


def canonical(rows):
    return sorted(rows, key=SORTED.encode)


def oracle(archive, user_id="demo", post_years=(None, None), join_years=(None, None), upto=None, then=()):
    """Returns the whole output, as one object."""
    tables, dead_letters, read, other_files = {}, [], {}, 0
    for kind in KINDS:
        topic = f"{user_id}.{kind}"
        read[topic], standing = 0, {}
        for rank, source in enumerate([archive, *then]):
            records, others = read_topic(Path(source), topic, ends_of(upto, topic, kind))
            read[topic] += len(records)
            other_files += others
            for partition, offset, data in records:
                try:
                    row, year = clean(kind, data)
                except DeadLetter as reason:
                    dead_letters.append([topic, partition, offset, str(reason)])
                    continue
                order, _, _ = standing.get(row["ind"], ((-1, -1, -1), None, None))
                if (rank, offset, partition) > order:
                    standing[row["ind"]] = ((rank, offset, partition), row, year)
        tables[kind] = {ind: (row, year) for ind, (_, row, year) in standing.items()}
    views = answers(tables["pin"], tables["geo"], tables["user"], post_years, join_years)
    return {
        "tables": {f"{kind}_table": canonical(row for row, _ in tables[kind].values()) for kind in KINDS},
        "views": {name: canonical(rows) for name, rows in views.items()},
        "dead_letters": sorted(dead_letters),
        "read": read,
        "other_files": other_files,
    }


def serve():
    """Answers requests, one a line. A record that was cleaned before is not cleaned again."""
    global clean
    plainly, known = clean, {}

    def remembered(kind, data):
        if (kind, data) not in known:
            try:
                known[kind, data] = plainly(kind, data), None
            except DeadLetter as reason:
                known[kind, data] = None, str(reason)
        found, reason = known[kind, data]
        if reason is not None:
            raise DeadLetter(reason)
        return found

    clean = remembered
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(oracle(Path(request["archive"]), upto=request["upto"])), flush=True)
        if len(known) > 100_000:
            known.clear()


# --- the self-test --------------------------------------------------------------------------------------------------


def outcome(kind, data):
    try:
        return clean(kind, data if isinstance(data, bytes) else json.dumps(data).encode())[0]
    except DeadLetter:
        return "dead letter"


def test_wrappings():
    pin = b'{"index":1,"unique_id":null}'
    row = outcome("pin", pin)
    encoded, array = base64.b64encode(pin), base64.b64encode(b"[" + pin + b"]")
    for good in [b"[" + pin + b"]", encoded, b'"' + encoded + b'"', array, b'"' + array + b'"', b" \t" + pin + b"\r", b'"' + encoded.replace(b"e", b"\\u0065") + b'"']:
        assert outcome("pin", good) == row, good
    quoted = lambda text: json.dumps(text).encode()
    for good in [quoted(pin.decode()), quoted(f" [ {pin.decode()} ] "), b" " + quoted(pin.decode()) + b"\r"]:
        assert outcome("pin", good) == row, good
    for bad in [quoted(quoted(pin.decode()).decode()), base64.b64encode(quoted(pin.decode())), b"[" + quoted(pin.decode()) + b"]", quoted(pin.decode()[:-1])]:
        assert outcome("pin", bad) == "dead letter", bad
    for bad in ["[]", f"[{pin.decode()},{pin.decode()}]", f"[[{pin.decode()}]]", "7 ", " null", f"\ufeff{pin.decode()}", pin.decode() + "}"]:
        assert outcome("pin", quoted(bad)) == "dead letter", bad
    twice = base64.b64encode(encoded)
    for bad in [b"", b" ", b"null", b"[null]", b"[]", b"[" + pin + b"," + pin + b"]", b"[[" + pin + b"]]", twice, b'"' + twice + b'"']:
        assert outcome("pin", bad) == "dead letter", bad
    for bad in [b'["' + encoded + b'"]', encoded.rstrip(b"=") + b"!", b"\xef\xbb\xbf" + pin, pin + b"\xff", pin + b"\x0b", b'"{}"', b"7", b"true"]:
        assert outcome("pin", bad) == "dead letter", bad


def test_json():
    def pin(extra):
        return outcome("pin", b'{"index":1,"unique_id":"u",' + extra + b"}")

    good = pin(b'"x":0')
    for fine in [b'"x":[{"y":1},{"y":2}]', b'"downloaded":"yes"', b'"x":"\\ud83d\\ude00"', b'"x":-0', b'"x":"\\u0000\x7f"', b'"x":1e-400']:
        assert pin(fine) == good, fine
    for bad in [b'"x":1,"x":1', b'"x":{"y":1,"\\u0079":1}', b'"x":NaN', b'"x":-Infinity', b'"x":1e400', b'"x":' + b"9" * 400, b'"x":"\x01"']:
        assert pin(bad) == "dead letter", bad
    for bad in [b'"x":"\\ud800"', b'"\\udc00":1', b'"x":"\\ude00\\ud83d"', b'"x":01', b'"x":.5', b'"x":1.', b'"x":1,', b"'x':1", b'"x":+1']:
        assert pin(bad) == "dead letter", bad
    nested = lambda n: b'"x":' + b"[" * (n - 1) + b"]" * (n - 1)
    assert pin(nested(64)) == good and pin(nested(65)) == pin(nested(100_000)) == "dead letter"
    assert outcome("pin", b'[{"index":1,"unique_id":"u",' + nested(64) + b"}]") == good
    full = b'{"index":1,"unique_id":"u"}'
    assert outcome("pin", full.ljust(MEBIBYTE)) == good and outcome("pin", full.ljust(MEBIBYTE + 1)) == "dead letter"


def test_ind_and_kind():
    def ind(**fields):
        row = outcome("pin", {"unique_id": None, **fields})
        return row if row == "dead letter" else row["ind"]

    assert ind(index=5) == ind(ind=5) == ind(ind=5, index=6) == ind(ind=None, index=5) == 5
    assert ind(ind=GREATEST_LONG) == GREATEST_LONG and ind(ind=LEAST_LONG) == LEAST_LONG
    for bad in ["7528", 7528.0, True, [1], GREATEST_LONG + 1, LEAST_LONG - 1]:
        assert ind(ind=bad) == ind(ind=bad, index=5) == "dead letter", bad
    assert ind() == ind(index=None) == outcome("pin", b'{"unique_id":null,"index":-0}') == "dead letter"
    assert outcome("pin", {"ind": 1}) == outcome("user", {"ind": 1, "unique_id": "u"}) == "dead letter"
    assert outcome("geo", {"ind": 1, "timestamp": None}) == {"ind": 1, "country": None, "coordinates": None, "timestamp": None}


def test_texts():
    def pin(name, value):
        row = outcome("pin", {"index": 1, "unique_id": None, name: value})
        return row if row == "dead letter" else row[name]

    for column in ["unique_id", "title", "tag_list", "category", "save_location", "is_image_or_video"]:
        assert pin(column, "") is pin(column, " \u00a0\u2003\n") is pin(column, None) is None
        assert pin(column, "\x1c") == "\x1c" and pin(column, "\u200b") == "\u200b" and pin(column, " a ") == " a "
        assert pin(column, 1) == pin(column, True) == pin(column, ["a"]) == "dead letter"
    for column, values in NO_DATA.items():
        assert all(pin(column, value) is None for value in values)
    assert pin("title", "Untitled") == "Untitled" and pin("title", "no title data available") is not None
    assert pin("title", "No Title Data Available ") is not None and pin("poster_name", "User Info Error.") is not None
    assert pin("save_location", "Local save in /data/a") == "/data/a" and pin("save_location", "local save in /a") == "local save in /a"
    assert pin("save_location", "Local save in Local save in /a") == "Local save in /a" and pin("save_location", "Local save in ") is None


def test_followers():
    def count(value):
        row = outcome("pin", {"index": 1, "unique_id": None, "follower_count": value})
        return row if row == "dead letter" else row["follower_count"]

    whole = {"437": 437, "0": 0, "51k": 51000, "5M": 5_000_000, "1 K": 1000, "1\u00a0\tk": 1000, "1.5k": 1500, "1.0": 1, "1.2340k": 1234, "0.5B": 500_000_000}
    whole |= {"9223372036854775807": GREATEST_LONG, "0" * 5000 + "7." + "0" * 5000: 7, "9.223372036854775807b": "dead letter", "": None, "\u00a0": None}
    for text, expected in whole.items():
        assert count(text) == expected, text
    for bad in ["437 ", " 437", "51k ", "51k\n", "437\n", "1.5", "1.2345k", "1.", ".5k", "-1", "+1", "1,000", "1e3", "1t", "kk", "\u0661", "9223372036854775808", "9" * 5000]:
        assert count(bad) == "dead letter", bad
    assert count(437) == count(0) == count(False) == "dead letter"


def test_dates():
    def date(value):
        row = outcome("user", {"ind": 1, "date_joined": value})
        return row if row == "dead letter" else row["date_joined"]

    for text in ["2020-08-28 03:52:47", "2020-08-28T03:52:47", "08/28/2020, 03:52:47", "2020:08:28 03:52:47", "2020-08-28T03:52:47.000Z", "2020-08-28T03:52:47Z", "2020-08-28T03:52:47+00:00", "2020-08-28T03:52:47.0+0000"]:
        assert date(text) == 1_598_586_767_000_000, text
    assert date("2020-08-28T03:52:47.5") == 1_598_586_767_500_000 and date("2020-08-28T03:52:47.000001Z") == 1_598_586_767_000_001
    assert date("2020-02-29 00:00:00") == 1_582_934_400_000_000 and date("1969-12-31 23:59:59") == -1_000_000 and date(None) is None
    assert date("2000-02-29 00:00:00") == 951_782_400_000_000 and date("1900-03-01 00:00:00") == -2_203_891_200_000_000
    for bad in ["", " ", "2020-08-28", "2021-02-29 00:00:00", "1900-02-29 00:00:00", "2020-13-01 00:00:00", "2020-00-01 00:00:00", "2020-01-00 00:00:00", "2020-01-01 24:00:00", "2020-01-01 00:60:00", "2020-12-31T23:59:60Z"]:
        assert date(bad) == "dead letter", bad
    for bad in ["2020-8-28 03:52:47", "2020-08-28T03:52:47+01:00", "2020-08-28T03:52:47-00:00", "2020-08-28T03:52:47.Z", "2020-08-28T03:52:47.0000000", "2020-08-28 03:52:47Z", "2020-08-28 03:52:47.5", "2020-08-28t03:52:47z", " 2020-08-28 03:52:47", "2020-08-28 03:52:47\n", "08/28/2020 03:52:47", "28/08/2020, 03:52:47", "20-08-28 03:52:47", "2020:08:28T03:52:47", "2020-08-28T03:52", 1598586767, "\u0662020-08-28 03:52:47"]:
        assert date(bad) == "dead letter", bad


def test_coordinates_names_and_ages():
    def geo(**fields):
        row = outcome("geo", {"ind": 1, "timestamp": None, **fields})
        return row if row == "dead letter" else row["coordinates"]

    def user(column, **fields):
        row = outcome("user", {"ind": 1, "date_joined": None, **fields})
        return row if row == "dead letter" else row[column]

    assert geo(latitude=1.5, longitude=-200) == [1.5, -200.0] and geo(latitude=1e300, longitude=0) == [1e300, 0.0]
    assert geo(latitude=1.5) is geo(longitude=1, latitude=None) is geo() is None
    assert geo(latitude="1.5", longitude=1) == geo(latitude="1.5") == geo(latitude=True, longitude=1) == "dead letter"
    assert user("user_name", first_name=" A ", last_name="B") == " A  B" and user("user_name", first_name="A", last_name=" ") == "A"
    assert user("user_name", last_name="B") == "B" and user("user_name", first_name="") is None and user("user_name", first_name=1) == "dead letter"
    assert user("age", age=-3) == -3 and user("age") is None
    assert user("age", age="30") == user("age", age=30.0) == user("age", age=True) == user("age", age=1 << 63) == "dead letter"
    groups = {17: "under-18", -1: "under-18", 18: "18-24", 24: "18-24", 25: "25-35", 35: "25-35", 36: "36-50", 50: "36-50", 51: "50+"}
    assert all(age_group(age) == group for age, group in groups.items()) and age_group(None) is None


def test_lines():
    assert lines_of(b"") == [] and lines_of(b"\n") == [b""] and lines_of(b"a") == lines_of(b"a\n") == [b"a"]
    assert lines_of(b"a\n\n") == [b"a", b""] and lines_of(b"a\r\nb\x0bc\xc2\x85d") == [b"a\r", b"b\x0bc\xc2\x85d"]


def write(folder, topic, partition, first, records):
    path = Path(folder) / "topics" / topic / f"partition={partition}" / f"{topic}+{partition}+{first:010}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def small_archive(folder):
    def pin(ind, category, followers, poster):
        return {"index": ind, "unique_id": "u", "category": category, "follower_count": followers, "poster_name": poster}

    def geo(ind, country, year):
        return {"ind": ind, "timestamp": f"{year}-12-31 23:59:59", "country": country}

    def user(ind, name, age, year):
        return {"ind": ind, "first_name": name, "last_name": "X", "age": age, "date_joined": f"{year}-01-01 00:00:00"}

    write(folder, "demo.pin", 0, 0, [pin(1, "art", "1k", "P"), pin(2, "art", "3k", "P"), pin(3, "diy", "3k", "Q"), {"index": 1}])
    write(folder, "demo.pin", 0, 4, [pin(4, "diy", "User Info Error", "R"), pin(5, None, "2k", "S"), pin(6, "art", "9M", None)])
    write(folder, "demo.pin", 1, 0, [pin(1, "diy", "2k", "T"), pin(7, "art", "1", "nobody")])
    write(folder, "demo.geo", 0, 0, [geo(1, "A", 2018), geo(2, "A", 2018), geo(3, "A", 2019), geo(4, "B", 2019), geo(5, "B", 2020), geo(6, None, 2020)])
    write(folder, "demo.user", 0, 0, [user(1, "a", 20, 2015), user(2, "a", 20, 2015), user(3, "b", 50, 2015), user(4, "c", 51, 2016), user(5, "d", None, 2016), user(6, "e", -1, 2017)])
    write(folder, "demo.user", 0, 6, [user(1, "a", 20, 2015)])
    (Path(folder) / "topics" / "demo.pin" / "partition=0" / "note.txt").write_text("not an object")


def test_answers():
    with tempfile.TemporaryDirectory() as folder:
        small_archive(folder)
        all_of = oracle(folder)
        views = {name: sorted((tuple(row.values()) for row in rows), key=repr) for name, rows in all_of["views"].items()}
        assert all_of["read"] == {"demo.pin": 9, "demo.geo": 6, "demo.user": 7} and all_of["other_files"] == 1
        assert all_of["dead_letters"] == [["demo.pin", 0, 3, "another kind"]]
        # Pin 1 has a record at the same offset in both partitions: the greater partition is later.
        assert views["category_by_country"] == [("A", "diy", 2), ("B", "diy", 1)]
        assert views["category_by_year"] == [(2018, "art", 1), (2018, "diy", 1), (2019, "diy", 2), (2020, "art", 1)]
        assert views["category_count_by_year"] == views["category_by_year"]
        assert views["top_user_by_country"] == [("A", "P", 3000), ("A", "Q", 3000), ("B", "S", 2000)]
        assert views["top_country"] == [("A", "P", 3000), ("A", "Q", 3000)]
        assert views["category_by_age_group"] == [("18-24", "art", 1), ("18-24", "diy", 1), ("36-50", "diy", 1), ("50+", "diy", 1), ("under-18", "art", 1)]
        assert views["median_followers_by_age_group"] == [("18-24", 2000), ("36-50", 3000), ("under-18", 9_000_000)]
        assert views["users_joined_by_year"] == [(2015, 2), (2016, 2), (2017, 1)]
        assert views["median_followers_by_joining_year"] == [(2015, 3000), (2016, 2000), (2017, 9_000_000)]
        assert views["median_followers_by_joining_year_and_age_group"] == [(2015, "18-24", 2000), (2015, "36-50", 3000), (2017, "under-18", 9_000_000)]


def test_bounds_and_ends():
    with tempfile.TemporaryDirectory() as folder:
        small_archive(folder)
        bounded = oracle(folder, post_years=(2019, 2019), join_years=(2016, None))["views"]
        assert bounded["category_count_by_year"] == [{"category": "diy", "category_count": 2, "post_year": 2019}]
        assert [row["year_joined"] for row in bounded["users_joined_by_year"]] == [2017, 2016]
        assert [row["year_joined"] for row in bounded["median_followers_by_joining_year"]] == [2016, 2017]
        assert len(bounded["category_by_country"]) == 2 and len(bounded["median_followers_by_age_group"]) == 3
        early = oracle(folder, upto={"demo.pin": {"0": 1}, "geo": {"0": 6}})
        assert early["read"] == {"demo.pin": 1, "demo.geo": 6, "demo.user": 0} and early["dead_letters"] == []
        assert early["views"]["category_by_country"] == [{"country": "A", "category": "art", "category_count": 1}]


def test_dirty_corpus():
    folder = Path(__file__).resolve().parent.parent / "data" / "dirty"
    dead = {tuple(letter[:3]) for letter in oracle(folder)["dead_letters"]}
    records = [(topic, partition, offset) for kind in KINDS for topic in [f"demo.{kind}"] for partition, offset, _ in read_topic(folder, topic, None)[0]]
    found = {position: "dead letter" if position in dead else "row" for position in records}
    expected = {(topic, partition, offset): said for topic, partition, offset, said, _ in json.loads((folder / "expected.json").read_text())}
    assert len(found) == len(records)
    for position in sorted(found.keys() | expected.keys()):
        assert found.get(position) == expected.get(position), (position, found.get(position), expected.get(position))


def self_test():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    for name, test in tests:
        test()
        print(name, "ok")


# --- the command ----------------------------------------------------------------------------------------------------


def years(text):
    match = re.fullmatch(r"(-?[0-9]*)\.\.(-?[0-9]*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text} is not A..B")
    return tuple(int(end) if end else None for end in match.groups())


def main():
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("archive", nargs="?", metavar="ARCHIVE", type=Path)
    command.add_argument("--then", action="append", default=[], metavar="ARCHIVE", type=Path)
    command.add_argument("--user-id", default="demo")
    command.add_argument("--post-years", default=(None, None), type=years, metavar="A..B")
    command.add_argument("--join-years", default=(None, None), type=years, metavar="A..B")
    command.add_argument("--upto", type=Path, metavar="FILE.json")
    command.add_argument("--serve", action="store_true")
    command.add_argument("--self-test", action="store_true")
    options = command.parse_args()
    if options.self_test:
        return self_test()
    if options.serve:
        return serve()
    if options.archive is None or not options.archive.is_dir():
        command.error("ARCHIVE is no folder")
    gc.disable()  # Nothing here is cyclic, and the collector would walk every row again and again.
    upto = json.loads(options.upto.read_text()) if options.upto else None
    print(json.dumps(oracle(options.archive, options.user_id, options.post_years, options.join_years, upto, options.then)))


if __name__ == "__main__":
    main()
