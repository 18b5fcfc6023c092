"""Prints a signed URL of the album for a path: what your own server does for a visitor who cannot send a header."""

import json
import subprocess
import sys

from atlas_session import sign_url

shown = subprocess.run(["pulumi", "stack", "output", "--json", "--show-secrets"], check=True, stdout=subprocess.PIPE)
stack = json.loads(shown.stdout)
url = stack["album"] + sys.argv[1]
print(
    sign_url(url, key=stack["signing_key"], kid=stack["signing_kid"], generation=stack["generation"], expires_in_s=600)
)
