"""The reference names the bases that a reader can look up: a private one is replaced by its own bases."""

import griffe


class PublicBases(griffe.Extension):
    """Put the public bases of each class in the place of its private ones, whose arguments it keeps."""

    def on_package(self, *, pkg, **_):
        public = {
            member.target_path if member.is_alias else member.path
            for family in pkg.modules.values()
            for name, member in family.members.items()
            if name in (family.exports or ())
        }
        classes = list(_classes(pkg))
        bases = [_without_doubles(_public(member, pkg, public)) for member in classes]
        inits = [member.all_members.get("__init__") for member in classes]
        for member, its_bases, init in zip(classes, bases, inits, strict=True):
            member.bases = its_bases
            if init is not None:
                member.members.setdefault("__init__", init)


def _classes(module):
    for member in module.members.values():
        if member.is_alias:
            continue
        if member.is_module:
            yield from _classes(member)
        elif member.is_class:
            yield member


def _without_doubles(bases):
    return list({getattr(base, "canonical_path", str(base)): base for base in bases}.values())


def _public(member, pkg, public):
    for base in member.bases:
        path = getattr(base, "canonical_path", str(base))
        if path.startswith(f"{pkg.path}.") and path not in public:
            private = pkg[path.removeprefix(f"{pkg.path}.")]
            if private.is_class:  # else it is a class of Keras that is looked up by its path
                yield from _public(private, pkg, public)
        else:
            yield base
