"""Tells schemathesis what the description does not contain.

- Values of formats that a generic tool cannot generate: sources, schedules, time zones, cursors.
- Existing resources for path parameters: shared ones, and a new one for each call that deletes or
  renames it.
- Rules about several fields that a schema cannot express. Bodies that break one are not sent;
  `host/tests/api` tests their refusal.
- A check that the operation names each status, other than by `default`.
"""

import itertools
import os
import re

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import Failure

URL = os.environ["PICLOUD_CONTRACT_URL"]
KEY = os.environ["PICLOUD_CONTRACT_KEY"]

APP, SCRIPT, SECRET, MEMBER = "contract", "script", "secret", "member"
HOST = "contract.example"

session = requests.Session()
session.headers["authorization"] = f"Bearer {KEY}"
numbers = itertools.count(1)


def call(method, path, body=None, expected=(200, 201, 202, 204)):
    answer = session.request(method, f"{URL}/api/v1{path}", json=body, timeout=30)
    if answer.status_code not in expected:
        raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
    return answer.json() if answer.content else None


def new_app():
    return call("POST", "/apps", {"name": f"app-{next(numbers)}"})


def new_script():
    body = {"name": f"script-{next(numbers)}", "source": "1"}
    return call("POST", f"/apps/{APP}/scripts", body)


def new_route():
    path = f"/route/{next(numbers)}"
    body = {"script_id": shared["script"], "method": "GET", "path": path}
    return call("POST", f"/apps/{APP}/routes", body)


TRIGGERS = {
    "kv": {"collection": "none"},
    "cron": {"schedule": "0 0 1 1 *"},
    "pubsub": {"topic": "none"},
    "files": {"bucket": "none"},
    "dead_letter": {},
}


def new_trigger(kind="kv"):
    on = {"kind": kind, **TRIGGERS[kind]} if kind in TRIGGERS else {"kind": "queue"}
    if on["kind"] == "queue":
        on["queue"] = f"queue-{next(numbers)}"
    return call("POST", f"/apps/{APP}/triggers", {"script_id": shared["script"], "on": on})


def new_user():
    return call("POST", "/users", {"name": f"user-{next(numbers)}"})


def new_key():
    return call("POST", "/keys", {"name": "contract", "scopes": ["script:read"]})


def new_event():
    sent = {"queue": f"nobody-{next(numbers)}", "payload": {}}
    return call("POST", f"/apps/{APP}/events", sent)["event_ids"][0]


call("POST", "/apps", {"name": APP})
call("PUT", f"/apps/{APP}/secrets/{SECRET}", {"value": "value"})
# A limit that the run never reaches.
rate = {"rate_limit": {"requests": 1_000_000, "per_s": 1}}
call("PUT", f"/apps/{APP}/ingress", rate)
call("POST", "/users", {"name": MEMBER})
call("PUT", f"/apps/{APP}/members/{MEMBER}", {"role": "viewer"})
call("POST", f"/apps/{APP}/domains", {"host": HOST})
script = call("POST", f"/apps/{APP}/scripts", {"name": SCRIPT, "source": "1"})
run = call("POST", f"/execute/{script['id']}", {})
shared = {"script": script["id"], "execution": run["execution_id"]}
shared["route"] = new_route()["id"]
shared["trigger"] = new_trigger()["id"]
shared["event"] = new_event()

# Formats.

RHAI = ["1", "let x = 1; x + 1", "#{ status: 201, body: ctx.request }", "log::info(`hi`);"]
CRON = ["0 0 * * *", "*/5 * * * *", "30 7 * * MON-FRI", "0 0 1 JAN *", "@daily"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]
PRIVATE_HOSTS = ["intranet.example", "intranet.example:8080", "10.0.0.7", "[fd00::1]:80"]
# Without a dot at the end, which the server accepts and the format does not.
HOSTS = ["a.example", "shop.example.org", "käse.example", "xn--kse-qla.example", "A.Example"]

schemathesis.openapi.format("rhai", st.sampled_from(RHAI))
schemathesis.openapi.format("cron", st.sampled_from(CRON))
schemathesis.openapi.format("time-zone", st.sampled_from(ZONES))
schemathesis.openapi.format("private-host", st.sampled_from(PRIVATE_HOSTS))
schemathesis.openapi.format("idn-hostname", st.sampled_from(HOSTS))
cursor = call("GET", "/audit?limit=1")["next_after"]
schemathesis.openapi.format("cursor", st.just(cursor))
schemathesis.openapi.format("execution-cursor", st.just("start"))

# Existing resources.

OF_FOLDER = {
    "scripts": "script",
    "execute": "script",
    "routes": "route",
    "triggers": "trigger",
    "executions": "execution",
    "events": "event",
}


def is_positive(case, location):
    if case.meta is None:
        return True
    component = case.meta.components.get(location)
    return component is None or component.mode.is_positive


def place(case):
    """Returns path parameters that name an existing resource."""
    operation = case.operation.definition.raw["operationId"]
    body = case.body if isinstance(case.body, dict) else {}
    found = {}
    for name in case.path_parameters:
        if name == "app":
            found[name] = new_app()["name"] if operation in ("update_app", "delete_app") else APP
        elif name == "user_id":
            found[name] = new_user()["id"]
        elif name == "key_id":
            found[name] = new_key()["id"]
        elif name == "user":
            found[name] = MEMBER
        elif name == "host":
            found[name] = HOST
        elif name == "version":
            found[name] = 1
        elif name == "id":
            kind = OF_FOLDER.get(case.path.split("/")[3])
            if operation == "delete_script":
                found[name] = new_script()["id"]
            elif operation == "delete_route":
                found[name] = new_route()["id"]
            elif operation == "delete_trigger":
                found[name] = new_trigger()["id"]
            elif operation == "update_trigger":
                on = body.get("on")
                kind = on.get("kind") if isinstance(on, dict) else None
                found[name] = new_trigger(kind if isinstance(kind, str) else "kv")["id"]
            elif kind:
                found[name] = shared[kind]
    return found


def integral(value):
    """Turns `43.0` into `43`: both are integers for a JSON schema, only the second for the server."""
    if isinstance(value, dict):
        return {name: integral(item) for name, item in value.items()}
    if isinstance(value, list):
        return [integral(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@schemathesis.hook
def before_call(context, case, kwargs):
    from schemathesis.core.parameters import ParameterLocation as In

    if case.path_parameters and is_positive(case, In.PATH):
        case.path_parameters.update(place(case))
    if isinstance(case.body, dict) and is_positive(case, In.BODY):
        case.body = integral(case.body)
        if case.body.get("script_id"):
            case.body["script_id"] = shared["script"]


# Rules that a schema cannot express.


def route_path_is_good(path):
    names = re.findall(r"\{\*?([^}]*)\}", path)
    segments = path.split("/")
    # Each parameter occurs once; `.` and `..` are not segments, also if they are encoded.
    dots = {segment.replace("%2e", ".").replace("%2E", ".") for segment in segments}
    # The limit applies to the percent-encoded path.
    fits = sum(1 if c.isascii() and c.isprintable() else 12 for c in path) <= 170
    return len(names) == len(set(names)) and not dots & {".", ".."} and fits


def cors_is_good(cors):
    origins = cors.get("origins", [])
    every = [*origins, *cors.get("headers", []), *cors.get("exposed_headers", [])]
    # `*` is the only origin, and excludes credentials. An origin's host and port must parse.
    alone = "*" not in origins or len(origins) == 1
    plain = all(o == "*" or re.fullmatch(r"[a-z]+://[a-z0-9.-]+(:\d{1,4})?", o) for o in origins)
    return alone and plain and not (cors.get("credentials") and "*" in every)


def signature_is_good(custom):
    signed = custom.get("signed", "{body}")
    # `{body}` occurs once, and `{timestamp}` if and only if there is a `timestamp_header`.
    has_time = "{timestamp}" in signed
    return signed.count("{body}") == 1 and has_time == (custom.get("timestamp_header") is not None)


def request_is_good(body):
    """Checks a manual run: no pattern expresses the grammar of URLs or the encoding of a body."""
    address = body.get("path", "") + "?" + body.get("query", "")
    encoded = body.get("body_encoding") == "base64" and body.get("body")
    typed = any(header and header[0].lower().startswith("content-") for header in body.get("headers", []))
    return bool(re.fullmatch(r"(/[a-z0-9/]*)?\?[a-z0-9=&]*", address)) and not encoded and not typed


def several_fields_are_good(operation, body):
    if operation == "execute_script" and not request_is_good(body):
        return False
    if operation == "create_route" and not route_path_is_good(body["path"]):
        return False
    if isinstance(body.get("cors"), dict) and not cors_is_good(body["cors"]):
        return False
    # Exactly one target; some options are for queues only.
    if operation == "send_event":
        targets = [name for name in ("queue", "topic", "script") if body.get(name) is not None]
        if len(targets) != 1 or (body.get("dedupe") is not None and targets != ["queue"]):
            return False
        if body.get("delay_ms") and targets == ["topic"]:
            return False
    # A list cannot have both `after` and `offset`.
    chosen = body.get("filter")
    if isinstance(chosen, dict) and chosen.get("after") is not None and chosen.get("offset"):
        return False
    # The event of a test must have a kind.
    event = body.get("event")
    if isinstance(event, dict) and not isinstance(event.get("kind"), str):
        return False
    # Only responses have these: no release receives mail, and `unknown` is of a newer release.
    on = body.get("on")
    if isinstance(on, dict) and on.get("kind") == "email":
        return False
    auth = body.get("auth")
    if isinstance(auth, dict) and auth.get("mode") == "unknown":
        return False
    if isinstance(auth, dict) and auth.get("mode") == "hmac":
        # Exactly one of the two describes the signature.
        if (auth.get("preset") is None) == (auth.get("custom") is None):
            return False
    if isinstance(auth, dict) and isinstance(auth.get("custom"), dict):
        if not signature_is_good(auth["custom"]):
            return False
    limits = body.get("limits")
    if isinstance(limits, dict):
        # The settings contain the maximum.
        ceilings = {"fuel_max": 10**6, "memory_bytes_max": 2**28, "wall_ms_max": 60_000}
        for name, ceiling in ceilings.items():
            if isinstance(limits.get(name), (int, float)) and limits[name] > ceiling:
                return False
    return True


@schemathesis.hook
def filter_case(context, case):
    from schemathesis.core.parameters import ParameterLocation as In

    try:
        if isinstance(case.body, dict) and is_positive(case, In.BODY):
            if not several_fields_are_good(case.operation.definition.raw["operationId"], case.body):
                return False
    except (TypeError, AttributeError):
        pass
    # schemathesis treats `null` as a violation of a format, even if the schema allows it.
    if isinstance(case.body, dict) and case.body.get("zone", "") is None:
        return False
    query = case.query or {}
    if is_positive(case, In.QUERY):
        # `after` cannot be combined with an offset, another cursor or a search.
        if "after" in query and {"offset", "before", "q"} & set(query):
            return False
        # A list cannot have both `before` and `offset`.
        if "before" in query and "offset" in query:
            return False
        # A time span must begin before it ends, and not before 1970.
        if case.path.endswith("/stats") and {"from", "to"} & set(query):
            return False
    return True


class UndocumentedStatus(Failure):
    """A status that the operation does not name."""


@schemathesis.check
def only_named_statuses(context, response, case):
    # A method that the path lacks is not an operation.
    if response.status_code in (405, 501):
        return
    named = case.operation.definition.raw["responses"]
    if str(response.status_code) not in named:
        raise UndocumentedStatus(
            operation=case.operation.label,
            message=f"{response.status_code} is not one of {', '.join(named)}",
            title="A status that the operation does not name",
        )
