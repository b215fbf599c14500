#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Print the versions installed in an environment as pip constraints.
#
#   scripts/freeze_constraints.sh VENV > constraints.txt
set -eu
cat <<'HEAD'
# SPDX-License-Identifier: Apache-2.0
# The versions this package was tested with (make constraints). Used by every make
# target; where pip finds the packages is left to its own configuration.
HEAD
# A local version such as +cpu names a build, not a version: any build will do.
"$1/bin/python" -m pip freeze --all --exclude-editable --disable-pip-version-check |
    sed 's/+[a-z0-9.]*$//' | grep -v '^pip=='
