"""Keep what was fetched in order: what the layers above call.

verify, mend      hash it again, set aside what is damaged
removal, remove   what deleting one form of a model means; delete it and nothing else
leftovers, prune  what nobody needs any more; delete it
"""

from ondevice.hub.leftovers import Leftover, Pruned, leftovers, prune
from ondevice.hub.rehash import Finding, KnownFile, mend, verify
from ondevice.hub.removal import Removal, removal, remove

__all__ = [
    "Finding",
    "KnownFile",
    "Leftover",
    "Pruned",
    "Removal",
    "leftovers",
    "mend",
    "prune",
    "removal",
    "remove",
    "verify",
]
