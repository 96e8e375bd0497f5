"""Who works on this machine."""

import os
import pwd
import socket


def user_at_host() -> str:
    """Such as anna@laptop, as the system has it: variables such as USER can be set to anything."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container without a user of this number
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
