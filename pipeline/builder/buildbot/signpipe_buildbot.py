"""Buildbot steps that have a file signed by signpipe: for master.cfg, beside which this file goes.

`master.cfg` in this folder is a complete example of both ways: a build that waits for its signatures, and one that
ends with the request, so that the receipt starts another build, which picks the signed file up.

How a step ends says who acts:

SUCCESS    the signed files are there
FAILURE    refused: the request or the files must change (exit status 3 of signpipe)
EXCEPTION  a part of the site is down, wrongly configured or does not answer: its operator acts (1, 2, 4)
CANCELLED  the build was stopped: its request is withdrawn
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Generator, Optional

from buildbot.plugins import steps, util
from buildbot.process import buildstep, logobserver
from buildbot.process.results import CANCELLED, EXCEPTION, FAILURE, SKIPPED, SUCCESS
from twisted.internet import defer, task
from twisted.python import log

# What Twisted's inlineCallbacks runs: a generator that is sent the results of deferreds.
Steps = Generator[Any, Any, Any]

RESULTS = {0: SUCCESS, 1: EXCEPTION, 2: EXCEPTION, 3: FAILURE, 4: EXCEPTION}
MEANINGS = {1: "out of order", 2: "misconfigured", 3: "refused", 4: "not answered"}

# Properties of a build, all with this prefix.
PRODUCT = "signpipe_product"  # "windows-12": which build of the product the file is from
UNSIGNED = "signpipe_unsigned"  # the path of the unsigned file on the master
REVISION = "signpipe_revision"
REQUEST = "signpipe_request"  # the id of the request
ANSWERED = "signpipe_answered"  # the id of its receipt, or the code of the refusal
FILES = "signpipe_files"  # the signed files on the worker

WORKDIR = "build"  # Buildbot's own name for a build's folder
OUTPUT = "signed"


@dataclass(frozen=True)
class Site:
    """What the worker has: signpipe, and a configuration made by `signpipe init builder DIR`."""

    config: str
    program: tuple[str, ...] = ("signpipe",)
    channel: Optional[str] = None
    # Send only the programs of a zip to the signer; the signed zip is then checked against the unsigned one.
    sparse: bool = False
    # How long `wait` waits. The request remains when the time is over.
    timeout: str = "45m"
    # For trying it out: accept files that were signed with a test certificate.
    allow_test_certificate: bool = False

    def command(self, name: str, *arguments: str) -> list[str]:
        return [*self.program, name, "-c", self.config, "--json", *arguments]


def _safe(text: str) -> str:
    """A name that `zipname` and file systems take. Names that differ stay different."""
    safe = re.sub(r"[^A-Za-z0-9._+=@-]", "-", text).lstrip("-.")[:100]
    if safe == text:
        return safe
    return f"{safe}.{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@util.renderer
def product_of_build(props: Any) -> str:
    """Names the build that it is rendered in: builder and number."""
    return _safe(f"{props['buildername']}-{props['buildnumber']}")


@util.renderer
def product(props: Any) -> str:
    """The product's build, as the property has it. A forced build could give any text; it becomes the name of a folder."""
    name = str(props.getProperty(PRODUCT) or "")
    if not re.fullmatch(r"[A-Za-z0-9._+=@][A-Za-z0-9._+=@-]{0,127}", name) or name.strip(".") == "":
        raise ValueError(f"property {PRODUCT}: {name!r} does not name a build; TriggerSigning sets it")
    return name


@util.renderer
def revision(props: Any) -> str:
    """What was built: with several codebases, each of them."""
    got = props.getProperty("got_revision") or props.getProperty("revision") or "unknown"
    text = " ".join(f"{name}={rev}" for name, rev in sorted(got.items())) if isinstance(got, dict) else str(got)
    return text[:200]


def _reply(stdout: str) -> dict[str, Any]:
    """The JSON object that signpipe printed; an empty one if it printed none."""
    try:
        reply = json.loads(stdout)
    except ValueError:
        return {}
    return reply if isinstance(reply, dict) else {}


class _StderrLines(logobserver.LogLineObserver):
    """Hands each line of standard error to the step while the command runs."""

    def errLineReceived(self, line: str) -> None:
        self.step.said(line)


class SignpipeStep(buildstep.ShellMixin, buildstep.BuildStep):
    """Runs one command of signpipe. Its summary is what the command says, while it runs and when it has ended."""

    haltOnFailure = True
    flunkOnFailure = True
    site: Site
    stopped: bool
    cmd: Any
    # What the summary says.
    text = ""
    # The results and the error code of a command that failed.
    ended = EXCEPTION
    code = ""

    def __init__(self, site: Site, **kwargs: Any) -> None:
        kwargs = self.setupShellMixin(kwargs, prohibitArgs=["command", "decodeRC", "timeout", "interruptSignal"])
        super().__init__(**kwargs)
        self.site = site

    def said(self, line: str) -> None:
        """A line of standard error."""

    def show(self, text: str) -> None:
        """Changes the summary."""
        self.text = text[:300]
        self.updateSummary()

    @defer.inlineCallbacks
    def signpipe(self, name: str, *arguments: str) -> Steps:
        """Runs a command; returns its result, or None with the step's results and summary set to the failure."""
        self.addLogObserver("stdio", _StderrLines())
        # Silence is not a hang: signpipe has time-outs of its own. TERM lets it remove what is half-written.
        command = yield self.makeRemoteShellCommand(
            command=self.site.command(name, *arguments), collectStdout=True, timeout=None, sigtermTime=10
        )
        yield self.runCommand(command)
        reply = _reply(command.stdout)
        status = command.rc
        if status == 0 and reply:
            return reply
        if self.stopped:
            self.ended = CANCELLED
            self.text = "stopped"
            return None
        self.ended = RESULTS.get(status, EXCEPTION) if status != 0 else EXCEPTION
        error = reply.get("error") or {"code": "no-reply", "message": f"signpipe ended with status {status}"}
        self.code = str(error.get("code"))
        self.show(f"{MEANINGS.get(status, 'out of order')}: {error.get('message')} [{self.code}]")
        return None

    def getCurrentSummary(self) -> dict[str, str]:
        return {"step": self.text or "running"}

    def getResultSummary(self) -> dict[str, str]:
        if self.text:
            return {"step": self.text}
        summary: dict[str, str] = buildstep.BuildStep.getResultSummary(self)
        return summary


class Requests:
    """The requests of this master, in a folder: which build of the product each of them is for."""

    KEPT = 90 * 24 * 3600  # seconds
    # How many submissions are under way, by folder: a reconfiguration makes a new object.
    _submitting: ClassVar[dict[str, int]] = {}

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @property
    def submitting(self) -> int:
        return self._submitting.get(self.folder, 0)

    @submitting.setter
    def submitting(self, count: int) -> None:
        self._submitting[self.folder] = count

    def _path(self, request: str) -> str:
        return os.path.join(self.folder, f"{request}.json")

    def add(self, request: str, what: dict[str, str]) -> None:
        os.makedirs(self.folder, exist_ok=True)
        self._remove_old()
        temporary = self._path(request) + ".new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(what, file)
        os.replace(temporary, self._path(request))

    def _remove_old(self) -> None:
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if re.fullmatch(r"[0-9a-f]{40}\.json", name) and os.path.getmtime(path) < time.time() - self.KEPT:
                os.remove(path)

    @defer.inlineCallbacks
    def find(self, request: str, clock: Any) -> Steps:
        """
        What a request is for; None if it is not of this master. A signer can answer before `submit` has reported the
        id, so this waits for submissions that are under way.
        """
        for _ in range(600):
            if os.path.exists(self._path(request)):
                with open(self._path(request), encoding="utf-8") as file:
                    return json.load(file)
            if self.submitting == 0:
                return None
            yield task.deferLater(clock, 1, lambda: None)
        return None


class SignpipeSubmit(SignpipeStep):
    """Uploads a file and requests its signature. Sets the property `signpipe_request`."""

    name = "request signatures"
    renderables = ["artifact", "product", "revision"]
    requests: Optional[Requests]

    def __init__(self, site: Site, artifact: str, requests: Optional[Requests] = None, **kwargs: Any) -> None:
        super().__init__(site, **kwargs)
        self.artifact = artifact
        self.product = product
        self.revision = util.Property(REVISION, default="unknown")
        self.requests = requests

    def said(self, line: str) -> None:
        if line.startswith(("uploaded ", "warning: ")) and not self.stopped:
            self.show(line)

    @defer.inlineCallbacks
    def interrupt(self, reason: Any) -> Steps:
        """
        Lets the command end, so that the request's id is known and it can be withdrawn: killed, it could have pushed the
        request already. Stopped a second time, it is killed.
        """
        if not isinstance(reason, str):  # the worker is lost
            yield super().interrupt(reason)
        elif self.stopped:
            if self.cmd is not None:
                yield self.cmd.interrupt(reason)
        else:
            self.stopped = True
            self.show("stopping when the request is made, which is then withdrawn; stop again to kill it")
            yield self.addCompleteLog("cancelled", reason)

    @defer.inlineCallbacks
    def run(self) -> Steps:
        extension = os.path.splitext(self.artifact)[1]
        arguments = [self.artifact, "--as", self.product + extension, "--revision", self.revision]
        if self.site.channel is not None:
            arguments += ["--channel", self.site.channel]
        if self.site.sparse:
            arguments.append("--sparse")
        if self.requests is not None:
            self.requests.submitting += 1
        try:
            reply = yield self.signpipe("submit", *arguments)
            if reply is not None:
                yield self.keep(reply["request"])
        finally:
            if self.requests is not None:
                self.requests.submitting -= 1
        if reply is None:
            return self.ended
        return CANCELLED if self.stopped else SUCCESS

    @defer.inlineCallbacks
    def keep(self, request: str) -> Steps:
        self.setProperty(REQUEST, request, self.name)
        self.show(f"request {request[:12]}")
        if self.requests is not None and not self.stopped:
            unsigned = self.getProperty(UNSIGNED)
            self.requests.add(request, {PRODUCT: self.product, UNSIGNED: unsigned, REVISION: self.revision})
        yield None


class SignpipeWait(SignpipeStep):
    """Waits for the answer and downloads the signed files. Shows what the request waits for: a HOLD, vouches, a time lock."""

    name = "wait for signatures"

    def __init__(self, site: Site, artifact: str, **kwargs: Any) -> None:
        super().__init__(site, **kwargs)
        self.artifact = artifact

    def said(self, line: str) -> None:
        waiting = re.fullmatch(r"request [0-9a-f]{12}: (.*)", line)
        if waiting:
            self.show(waiting[1])

    @defer.inlineCallbacks
    def run(self) -> Steps:
        site = self.site
        arguments = [self.getProperty(REQUEST), "--timeout", site.timeout, "--output", OUTPUT]
        if site.sparse:
            arguments += ["--original", self.artifact]
        if site.allow_test_certificate:
            arguments.append("--allow-test-certificate")
        reply = yield self.signpipe("wait", *arguments)
        if reply is None:
            if self.ended == FAILURE:
                self.setProperty(ANSWERED, self.code, self.name)
            return self.ended
        self.setProperty(ANSWERED, reply["commit"], self.name)
        self.setProperty(FILES, reply["files"], self.name)
        receipt = reply["receipt"]
        signed = sum(len(file.get("signed", [])) for file in receipt["files"])
        test = " with a TEST certificate" if receipt.get("test") else ""
        self.show(f"signed{test}: {signed} files, receipt {reply['commit'][:12]}")
        return CANCELLED if self.stopped else SUCCESS


class SignpipeWithdraw(SignpipeStep):
    """Withdraws the request of a build that was stopped before it had its answer. Runs although the build was stopped."""

    name = "withdraw the request"
    alwaysRun = True
    haltOnFailure = False

    def __init__(self, site: Site, **kwargs: Any) -> None:
        super().__init__(site, **kwargs)
        self.doStepIf = lambda step: bool(
            step.build.stopped and step.getProperty(REQUEST) and not step.getProperty(ANSWERED)
        )
        self.hideStepIf = lambda results, step: results == SKIPPED

    @defer.inlineCallbacks
    def run(self) -> Steps:
        request = self.getProperty(REQUEST)
        reply = yield self.signpipe("cancel", request)
        if reply is None:
            return self.ended
        self.show(f"request {request[:12]} withdrawn")
        return SUCCESS


class SignpipeLookUp(buildstep.BuildStep):
    """Finds out for which build of the product a receipt is. Skipped if another system made the request."""

    name = "look up the request"
    requests: Requests
    text = "looking for the request"

    def __init__(self, requests: Requests, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.requests = requests

    @defer.inlineCallbacks
    def run(self) -> Steps:
        request = next((found for change in self.build.allChanges() if (found := request_in(change.comments))), None)
        if request is None:
            self.text = "no receipt started this build"
            return FAILURE
        what = yield self.requests.find(request, self.master.reactor)
        if what is None:
            self.text = f"request {request[:12]} was not made here"
            return SKIPPED
        for key, value in {**what, REQUEST: request}.items():
            self.setProperty(key, value, self.name)
        self.text = f"request {request[:12]} is for {what[PRODUCT]}"
        return SUCCESS

    def getCurrentSummary(self) -> dict[str, str]:
        return {"step": self.text}

    getResultSummary = getCurrentSummary


class TriggerSigning(steps.Trigger):
    """The last step of a product's build: starts the signing of a file that is on the master, and waits for it."""

    def __init__(self, unsigned: Any, schedulerNames: Any = ("sign",), wait: bool = True, **kwargs: Any) -> None:
        set_properties = {PRODUCT: product_of_build, UNSIGNED: unsigned, REVISION: revision}
        kwargs = {"name": "sign", "updateSourceStamp": False, "haltOnFailure": True, **kwargs}
        super().__init__(
            schedulerNames=list(schedulerNames), waitForFinish=wait, set_properties=set_properties, **kwargs
        )

    @defer.inlineCallbacks
    def interrupt(self, reason: Any) -> Steps:
        """Stops the builds that it started too: Buildbot lets them run, and then a stopped build would be signed."""
        yield super().interrupt(reason)
        for request in self.brids:
            try:
                yield self.master.data.control("cancel", {"reason": str(reason)}, ("buildrequests", str(request)))
            except Exception:  # pylint: disable=broad-except
                log.err(None, f"while cancelling build request {request}")


def request_in(comments: str) -> Optional[str]:
    """The request that a receipt answers, by its commit message; None if it is no receipt."""
    if not re.search(r"^Outcome: ", comments, re.MULTILINE):
        return None
    requests = re.findall(r"^Request: ([0-9a-f]{40})$", comments, re.MULTILINE)
    return requests[0] if len(requests) == 1 else None


def receipt_filter() -> Any:
    """A change filter for receipts: the receipt branch also has commits that only publish a policy."""
    return util.ChangeFilter(branch="signed", filter_fn=lambda change: request_in(change.comments) is not None)


def _known(step: Any) -> bool:
    return bool(step.getProperty(PRODUCT))


def _request_steps(site: Site, artifact: str, requests: Optional[Requests]) -> list[Any]:
    return [
        # What an earlier build left must not be signed or published again.
        steps.RemoveDirectory(name="empty the folder", dir=WORKDIR, haltOnFailure=True),
        steps.FileDownload(
            name="download the unsigned file",
            mastersrc=util.Property(UNSIGNED),
            workerdest=artifact,
            haltOnFailure=True,
        ),
        SignpipeSubmit(site, artifact, requests),
    ]


def _publish_step(masterdest: str, **kwargs: Any) -> Any:
    """Brings the files that the receipt names, and no others, to a folder of the product's build on the master."""
    return steps.MultipleFileUpload(
        name="keep the signed files",
        workersrcs=util.Property(FILES),
        masterdest=util.Interpolate("%(kw:folder)s/%(kw:product)s", folder=masterdest, product=product),
        mode=0o644,
        haltOnFailure=True,
        **kwargs,
    )


def signing_factory(site: Site, artifact: str = "build.zip", masterdest: str = "signed") -> Any:
    """Requests, waits, and keeps the signed files in MASTERDEST/PRODUCT on the master. TriggerSigning starts it."""
    return util.BuildFactory(
        [
            *_request_steps(site, artifact, None),
            SignpipeWait(site, artifact),
            _publish_step(masterdest),
            SignpipeWithdraw(site),
        ]
    )


def request_factory(site: Site, requests: Requests, artifact: str = "build.zip") -> Any:
    """Only requests: the receipt starts `pick_up_factory`. No worker is busy with waiting."""
    return util.BuildFactory([*_request_steps(site, artifact, requests), SignpipeWithdraw(site)])


def pick_up_factory(
    site: Site, requests: Requests, artifact: str = "build.zip", masterdest: str = "signed"
) -> Any:
    """Started by a receipt, as `receipt_filter` finds it: checks it and keeps the signed files."""
    return util.BuildFactory(
        [
            steps.RemoveDirectory(name="empty the folder", dir=WORKDIR, haltOnFailure=True),
            SignpipeLookUp(requests, haltOnFailure=True),
            steps.FileDownload(
                name="download the unsigned file",
                mastersrc=util.Property(UNSIGNED),
                workerdest=artifact,
                doStepIf=lambda step: _known(step) and site.sparse,
                hideStepIf=lambda results, step: results == SKIPPED,
                haltOnFailure=True,
            ),
            SignpipeWait(site, artifact, doStepIf=_known),
            _publish_step(masterdest, doStepIf=_known),
        ]
    )
