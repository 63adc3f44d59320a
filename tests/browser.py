"""A headless Chromium for tests of pages, where there is one.

It is driven by the DevTools protocol over a pair of pipes: commands and events
are JSON that ends in a zero byte.  That needs no driver and no websocket.
"""

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

import pytest
from tensorboard import program

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

needs_chromium = pytest.mark.skipif(
    _CHROMIUM is None, reason="needs Chromium, of which there is none on PATH"
)

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    # No page under test may need the network.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)

# Elements of a page that match a selector, also in shadow roots and frames.
_FIND = """
function find(selector, root = document) {
  const found = [...root.querySelectorAll(selector)];
  for (const element of root.querySelectorAll('*')) {
    if (element.shadowRoot) found.push(...find(selector, element.shadowRoot));
    if (element.tagName == 'IFRAME' && element.contentDocument)
      found.push(...find(selector, element.contentDocument));
  }
  return found;
}
"""


class Browser:
    """One tab of a headless Chromium.

    Args:
      profile: a new, empty folder.
    """

    def __init__(self, profile):
        commands, self._commands = _pipe()
        self._answers, answers = _pipe()
        # Chromium reads commands from its descriptor 3 and answers on 4.
        script = f'exec "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", _CHROMIUM, *_FLAGS]
            + [f"--user-data-dir={profile}"],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._ids = itertools.count(1)
        self._rest = b""
        self._session = {}
        target = self._call("Target.createTarget", url="about:blank")
        self._session = {
            "sessionId": self._call(
                "Target.attachToTarget",
                targetId=target["targetId"],
                flatten=True,
            )["sessionId"]
        }

    def open(self, url, width=1200, height=900, dark=False):
        """Shows a page in a window of so many pixels, light or dark."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self._call(
            "Emulation.setEmulatedMedia",
            features=[
                {
                    "name": "prefers-color-scheme",
                    "value": "dark" if dark else "light",
                }
            ],
        )
        self._call("Page.navigate", url=url)
        self.wait_for("document.readyState == 'complete'")

    def evaluate(self, expression):
        """The value of a JavaScript expression, which may use `find`.

        `find(selector)` gives the elements that match, also those in shadow
        roots and frames.
        """
        answer = self._call(
            "Runtime.evaluate",
            expression=f"(() => {{ {_FIND} return {expression}; }})()",
            returnByValue=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression, seconds=60):
        """The expression's value, once it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expression}: not so in {seconds} s")
            time.sleep(0.1)
        return value

    def screenshot(self, path, whole=False):
        """Saves what is seen, or the whole page, as a PNG file."""
        answer = self._call(
            "Page.captureScreenshot", captureBeyondViewport=whole
        )
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self):
        """Ends the browser."""
        self._session = {}
        try:
            self._call("Browser.close")
            self._process.wait(timeout=30)
        finally:
            self._process.kill()
            os.close(self._commands)
            os.close(self._answers)

    def _call(self, method, **params):
        """The result of a command of the protocol."""
        number = next(self._ids)
        command = {"id": number, "method": method, "params": params}
        text = json.dumps(command | self._session)
        os.write(self._commands, text.encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            pass  # an event
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self, seconds=60):
        """The next message."""
        while b"\0" not in self._rest:
            if not select.select([self._answers], [], [], seconds)[0]:
                raise TimeoutError(f"Chromium said nothing for {seconds} s")
            data = os.read(self._answers, 1 << 16)
            if not data:
                raise RuntimeError("Chromium ended")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


def _pipe():
    """The reading and the writing end, none of which is number 3 or 4."""
    ends = os.pipe()
    above = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return above


@contextlib.contextmanager
def chromium():
    """A browser with a profile of its own, closed in the end."""
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            yield browser
        finally:
            browser.close()


def assert_report_is_seen(browser):
    """Checks that the report that is open has its figures and tables."""
    assert browser.evaluate("find('h1')[0].innerText").count("times smaller")
    sizes = browser.evaluate(
        "find('figure > svg, table').filter(e => !e.closest('details'))"
        ".map(e => e.getBoundingClientRect())"
        ".map(box => Math.min(box.width, box.height))"
    )
    assert len(sizes) >= 8 and min(sizes) > 100, sizes
    # Every chart has marks.
    assert browser.evaluate(
        "find('figure > svg').every(e => e.querySelectorAll('.mark').length)"
    )
    # The page is not wider than its window.
    assert browser.evaluate(
        "document.documentElement.scrollWidth <= innerWidth"
    )


def assert_tensorboard_is_seen(browser, workdir):
    """Checks that a run has scalars, a projector and HParams to see.

    Args:
      browser: that opens them.
      workdir: a working directory; the scalars of more than 40 runs are not
        shown before somebody asks for them.
    """
    browser.open(f"{_serve(workdir / 'tensorboard')}#scalars", width=1400)
    browser.wait_for("find('path.line').some(e => e.getAttribute('d'))")
    browser.evaluate("location.hash = 'projector'")
    browser.wait_for(
        "find('.status-bar-entry').some(e => /Points: [1-9]/.test(e.innerText))"
    )
    assert browser.evaluate("find('canvas').every(e => e.width > 100)")
    browser.open(f"{_serve(workdir / 'hparams')}#hparams", width=1400)
    cells = "find('vaadin-grid-cell-content').map(e => e.textContent.trim())"
    browser.wait_for(f"{cells}.some(text => text == 'label_000')")
    assert {"accuracy", "log10_params"} <= set(browser.evaluate(cells))


def _serve(logdir):
    """The address of a TensorBoard in this process, which has read it all."""
    server = program.TensorBoard()
    server.configure(
        argv=[
            "tensorboard",
            f"--logdir={logdir}",
            "--host=127.0.0.1",
            "--port=0",
            "--load_fast=false",
            "--reload_task=blocking",
            "--reload_interval=0",
        ]
    )
    return server.launch()
