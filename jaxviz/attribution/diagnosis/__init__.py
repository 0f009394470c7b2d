"""Diagnosis in words: what happened, where an attribution does not say what it seems to."""

from jaxviz.attribution.diagnosis.diagnose import diagnose as diagnose
from jaxviz.attribution.diagnosis.findings import Diagnosis as Diagnosis
from jaxviz.attribution.diagnosis.findings import Finding as Finding
