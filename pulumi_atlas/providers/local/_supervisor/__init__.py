"""The process behind one endpoint of `local`: a queue of jobs, the workers that serve it, and RunPod's job API on loopback.

`_job`, `_queue` and `_scaling` decide (pure); `_pool` and `_journal` act; `_guard`, `_job_api`, `_worker_api` and
`_control_api` speak HTTP; `_serve` ties them together. Nothing here imports pydantic or httpx on the way up, because
an endpoint should answer within a fraction of a second.
"""
