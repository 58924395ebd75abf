"""Exit code 0 when this container's mail-proxy accepts mail; what is wrong goes to standard output."""

import http.client
import os
import sys

TIMEOUT = 4.0


def main() -> int:
    port = int(os.environ.get("GMP_PORT") or 8000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/readyz?verbose")
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        text, status = f"no answer from port {port}: {error}", 0
    else:
        status = answer.status
    sys.stdout.write(text + "\n")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
