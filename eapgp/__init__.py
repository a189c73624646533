"""eapgp: find and see circuits in transformer language models.

    import eapgp

    model = eapgp.load_model("demo")
    prompts = eapgp.make_prompts("ioi", 64)
    result = eapgp.attribute(model, prompts, method="eap-gp")
    curve = eapgp.faithfulness_curve(eapgp.CircuitRunner(model, prompts), result.scores, name="eap-gp")
    eapgp.faithfulness_figure(curve)

`eapgp.show(result.scores, n=50)` draws the circuit; `eapgp.select` gives it as a value.

The names in `__init__.pyi` are stable (`eapgp.__all__`). Each is imported when it is first used, so `import eapgp` is
quick and needs neither torch nor TransformerLens.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
