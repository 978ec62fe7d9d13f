"""Buildbot: the steps that follow a build, for master.cfg.

The worker "signing" has signpipe installed, with a configuration made by `signpipe init builder
/home/buildbot/signpipe`; it runs no code of the product. The steps of the build itself put build.zip on the
master, for example with a FileUpload step.
"""

from buildbot.plugins import steps, util

SITE = "/home/buildbot/signpipe"


def signing_factory(unsigned_on_master):
    """A factory for the worker "signing": `unsigned_on_master` is the path of build.zip on the master."""
    return util.BuildFactory(
        [
            steps.FileDownload(
                name="download the unsigned zip", mastersrc=unsigned_on_master, workerdest="build.zip"
            ),
            steps.ShellCommand(
                name="sign",
                command=[
                    "signpipe", "submit", "-c", SITE + "/builder.yaml", "build.zip",
                    "--as", util.Interpolate("build-%(prop:buildnumber)s.zip"),
                    "--revision", util.Property("got_revision", default="unknown"),
                    "--wait", "--timeout", "45m", "--output", "signed",
                ],  # fmt: skip
                haltOnFailure=True,
                timeout=3600,
            ),
            steps.DirectoryUpload(
                name="keep the signed zip",
                workersrc="signed",
                masterdest=util.Interpolate("signed/%(prop:buildnumber)s"),
            ),
        ]
    )
