"""Jobs over HTTP: where they stand, whose they are, their results, their end."""

import httpx
import pytest
from tests.serving.jobs.job_stand import ADMIN, BOB, OTHER, JobStand, submit

from harken.serving.jobs.work import KIND


def test_a_job_is_followed_to_its_results(client: httpx.Client, stand: JobStand) -> None:
    job = submit(client, b"a", b"bb", b"ccc", language_hint="en", word_times="true")
    assert sorted(path.read_bytes() for path in stand.kept()) == [b"a", b"bb", b"ccc"]
    told = client.get(f"/jobs/{job}").json()["job"]
    assert (told["state"], told["items"], told["queued"], told["finished_s"]) == ("queued", 3, 3, None)
    stand.work({0: "one", 1: None})
    told = client.get(f"/jobs/{job}").json()["job"]
    assert (told["state"], told["done"], told["failed"], told["queued"]) == ("running", 1, 1, 1)
    found = client.get(f"/jobs/{job}/results").json()["results"]
    assert [(item["state"], item["result"], item["error"]) for item in found] == [
        ("done", {"text": "one"}, None),
        ("failed", None, {"code": "damaged_audio", "message": "Bad.", "hint": ""}),
        ("queued", None, None),
    ]
    stand.work({2: "three"})
    told = client.get(f"/jobs/{job}").json()["job"]
    assert (told["state"], told["finished_s"] is not None) == ("done", True)
    assert "payload" not in told
    [row] = stand.rows
    assert (row.status, row.details["job"], row.audio_s, row.principal) == (202, job, None, "key:ann")


def test_results_come_in_pages(client: httpx.Client, stand: JobStand) -> None:
    job = submit(client, *[b"%d" % number for number in range(5)])
    stand.work({number: f"text {number}" for number in range(5)})
    page = client.get(f"/jobs/{job}/results", params={"offset": 3, "limit": 1}).json()["results"]
    assert [(item["index"], item["result"]["text"]) for item in page] == [(3, "text 3")]
    assert client.get(f"/jobs/{job}/results", params={"offset": 5}).json() == {"results": []}
    for bad in ({"offset": -1}, {"limit": 0}, {"limit": 1001}, {"offset": "x"}):
        assert client.get(f"/jobs/{job}/results", params=bad).status_code == 400


def test_a_job_is_its_owners_and_the_administrators(client: httpx.Client, stand: JobStand) -> None:
    job = submit(client, b"a", b"b")
    for method, path in (("GET", ""), ("GET", "/results"), ("DELETE", "")):
        refused = client.request(method, f"/jobs/{job}{path}", headers=BOB)
        absent = client.request(method, f"/jobs/{'0' * 32}{path}", headers=BOB)
        assert refused.status_code == absent.status_code == 404
        told = [answer.json()["error"]["message"] for answer in (refused, absent)]
        assert told[0] == told[1]
        assert client.request(method, f"/jobs/{job}{path}", headers=OTHER).status_code == 403
        assert client.request(method, f"/jobs/{job}{path}", headers={"Authorization": ""}).status_code == 401
    assert stand.queue.depth().queued == 2
    assert client.get(f"/jobs/{job}", headers=ADMIN).status_code == 200


@pytest.mark.parametrize("name", ["%2e%2e", "%00", "a-b", "a" * 5000, "%F0%9F%98%80", "'; DROP TABLE jobs"])
def test_what_is_no_id_is_no_job(client: httpx.Client, name: str) -> None:
    assert client.get(f"/jobs/{name}").status_code == 404


def test_a_cancelled_job_keeps_what_is_done_and_cancels_once(client: httpx.Client, stand: JobStand) -> None:
    job = submit(client, b"a", b"b", b"c")
    stand.work({0: "one"})
    told = client.delete(f"/jobs/{job}").json()["job"]
    assert (told["state"], told["done"], told["cancelled"]) == ("cancelled", 1, 2)
    assert client.delete(f"/jobs/{job}").json()["job"] == told
    found = client.get(f"/jobs/{job}/results").json()["results"]
    assert [(item["state"], item["result"]) for item in found] == [
        ("done", {"text": "one"}), ("cancelled", None), ("cancelled", None)
    ]  # fmt: skip
    assert stand.queue.claim("w", [KIND], lease_s=60) is None
