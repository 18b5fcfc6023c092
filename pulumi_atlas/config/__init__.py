"""Where a setting or a key comes from: the call, the stack, atlas.yaml, the environment, in this order.

An empty text counts as missing everywhere. The environment is read anew by each call and never kept. `atlas.yaml`::

    provider: runpod                 # the default
    state_dir: ~/.atlas              # intents and the like
    providers:
      runpod: {api_key_env: MY_KEY}  # or api_key_file, or api_key (then keep this file to yourself)
    accounts:
      team-a: {provider: runpod, api_key_file: ~/.keys/team-a, base_url: https://…, settings: {…}}
    runtime: {…}                     # the companion's: see `pulumi_atlas.runtime.configuration`
"""

from pulumi_atlas.config._access import choose_provider, key_fingerprint, resolve_access
from pulumi_atlas.config._fault import Fault, FileRefused
from pulumi_atlas.config._section import RawSection, load_section
from pulumi_atlas.config._settings import Profile, Settings, find_file, load, readable_by_others, state_dir
from pulumi_atlas.config._stack import refuse_plain_keys, stack_key

__all__ = [
    "Fault",
    "FileRefused",
    "Profile",
    "RawSection",
    "Settings",
    "choose_provider",
    "find_file",
    "key_fingerprint",
    "load",
    "load_section",
    "readable_by_others",
    "refuse_plain_keys",
    "resolve_access",
    "stack_key",
    "state_dir",
]
