# The workers of eval.beam on other machines; docs/beam.md has the commands. Build the wheel first: python -m build
FROM python:3.11-slim
COPY --from=apache/beam_python3.11_sdk:2.77.0 /opt/apache/beam /opt/apache/beam
COPY dist/*.whl /tmp/
RUN pip install --no-cache-dir "$(echo /tmp/*.whl)[beam]" "apache-beam[gcp,aws]==2.77.0" && pip check && rm /tmp/*.whl
ENTRYPOINT ["/opt/apache/beam/boot"]
