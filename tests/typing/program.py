"""Never run, only checked: what an editor and a type checker see of a program. `make check` runs mypy over it."""

from __future__ import annotations

import pulumi

import pulumi_atlas as atlas

volume = atlas.Volume("data", provider="local", size_gb=1)
pod = atlas.Pod(
    "web",
    provider="local",
    command=["python", "serve.py"],
    ports=["8888/http", 22],
    env={"A": "1", "B": volume.id},
    volumes={"/data": volume.id},
    auth="signed_url",
    auth_generation=1,
    ready=atlas.Ready(port=8888, timeout_s=30),
    timeouts=atlas.Timeouts(create_s=60),
    opts=pulumi.ResourceOptions(depends_on=[volume]),
)
endpoint = atlas.Endpoint(
    "infer",
    provider="local",
    handler="handlers:echo",
    workers=atlas.Workers(min=0, max=3, idle_timeout_s=30),
    env={"URL": pod.urls["8888"]},
)
status: pulumi.Output[str] = pod.status
exit_code: pulumi.Output[int | None] = pod.exit_code
urls: pulumi.Output[dict[str, str]] = pod.urls
url: pulumi.Output[str] = endpoint.url
size: pulumi.Output[int] = volume.size_gb
token: pulumi.Output[str | None] = pod.token
key: pulumi.Output[str | None] = pod.signing_key
seen: atlas.Pod = atlas.Pod.get("seen", "pod-1", provider="local")

atlas.Pod("bad", gpus=["h100"])  # type: ignore[call-arg]
atlas.Pod("bad", spot="yes", gpu_count=[1])  # type: ignore[arg-type]
atlas.Volume("bad", "local")  # type: ignore[call-arg]


async def imperative() -> None:
    async with atlas.AsyncAtlas("mock") as client:
        pod: atlas.Compute = await client.spawn_compute(image="i", wait=True, auth="bearer")
        issued: atlas.IssuedAccess | None = pod.auth
        pods: list[atlas.Compute] = await client.list_compute(status="running")
        job: atlas.Job = await client.run_job(endpoint="e", input={"a": 1})
        async for chunk in client.stream_job(job.id, endpoint="e"):
            print(chunk, pod.id, pods, issued)


def synchronous() -> None:
    client = atlas.Atlas("mock")
    pod: atlas.Compute = client.spawn_compute(image="i")
    offers: list[atlas.GpuOffer] = client.list_gpu_types()
    volume: atlas.ObservedVolume = client.create_volume(size_gb=1)
    endpoint: atlas.ObservedEndpoint = client.create_endpoint(handler="a:b")
    for line in client.logs(pod.id, follow=True):
        print(line, offers, volume, endpoint)
